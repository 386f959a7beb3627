"""Forms of names, keys, addresses and paths: what is wrong with a text, as upstream says it; an empty tuple when nothing is."""

import ipaddress
import re

from pinnace.api import selectors
from pinnace.api.validation import field
from pinnace.kit import remembered

Messages = tuple[str, ...]

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_UNDERSCORED = r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_UNDERSCORED_SUBDOMAIN = rf"{_UNDERSCORED}(\.{_UNDERSCORED})*"
_HEADER = "[-A-Za-z0-9]+"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_PERCENT = "[0-9]+%"
_PORT_NAME = re.compile("[-a-z0-9]+")
_WILDCARD = rf"\*\.{_SUBDOMAIN}"

_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
    "alphanumeric character"
)
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
    "with an alphanumeric character"
)
_UNDERSCORED_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and "
    "end with an alphanumeric character"
)
_LABEL_1035_RULE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end "
    "with an alphanumeric character"
)
_WILDCARD_RULE = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case "
    "alphanumeric characters, '-' or '.' and end with an alphanumeric character"
)

LABEL_LENGTH = 63
SUBDOMAIN_LENGTH = 253


def regex_message(rule: str, pattern: str, *examples: str) -> str:
    if not examples:
        return f"{rule} (regex used for validation is '{pattern}')"
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{rule} (e.g. {shown}regex used for validation is '{pattern}')"


def _too_long(text: str, limit: int) -> Messages:
    return (selectors.too_long(limit),) if len(text.encode()) > limit else ()


def _matches(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text, re.ASCII) is not None


@remembered.short(4096)
def dns_label(text: str) -> Messages:
    """RFC 1123."""
    found = _too_long(text, LABEL_LENGTH)
    if _matches(_LABEL, text):
        return found
    if _matches(_SUBDOMAIN, text):
        return (*found, "must not contain dots")
    return (*found, regex_message(_LABEL_RULE, _LABEL, "my-name", "123-abc"))


@remembered.short(4096)
def dns_subdomain(text: str) -> Messages:
    found = _too_long(text, SUBDOMAIN_LENGTH)
    if not _matches(_SUBDOMAIN, text):
        found = (*found, regex_message(_SUBDOMAIN_RULE, _SUBDOMAIN, "example.com"))
    return found


def dns_subdomain_with_underscore(text: str) -> Messages:
    found = _too_long(text, SUBDOMAIN_LENGTH)
    if not _matches(_UNDERSCORED_SUBDOMAIN, text):
        found = (*found, regex_message(_UNDERSCORED_RULE, _UNDERSCORED_SUBDOMAIN, "example.com"))
    return found


@remembered.short(1024)
def dns_1035_label(text: str) -> Messages:
    found = _too_long(text, LABEL_LENGTH)
    if not _matches(_LABEL_1035, text):
        found = (*found, regex_message(_LABEL_1035_RULE, _LABEL_1035, "my-name", "abc-123"))
    return found


def wildcard_subdomain(text: str) -> Messages:
    found = _too_long(text, SUBDOMAIN_LENGTH)
    if not _matches(_WILDCARD, text):
        found = (*found, regex_message(_WILDCARD_RULE, _WILDCARD, "*.example.com"))
    return found


@remembered.short(4096)
def qualified_name(text: str) -> Messages:
    return tuple(selectors.qualified_name_errors(text))


@remembered.short(4096)
def label_value(text: str) -> Messages:
    return tuple(selectors.label_value_errors(text))


def path_segment(text: str) -> Messages:
    """Names that are only bound to be one segment of a URL path (RBAC kinds)."""
    if text in (".", ".."):
        return (f"may not be '{text}'",)
    return tuple(f"may not contain '{character}'" for character in "/%" if character in text)


@remembered.short(1024)
def config_key(text: str) -> Messages:
    found = _too_long(text, SUBDOMAIN_LENGTH)
    if not _matches(_CONFIG_KEY, text):
        rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        found = (*found, regex_message(rule, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    if text == ".":
        found = (*found, "must not be '.'")
    elif text == "..":
        found = (*found, "must not be '..'")
    elif text.startswith(".."):
        found = (*found, "must not start with '..'")
    return found


@remembered.short(1024)
def environment_name(text: str) -> Messages:
    if not text:
        return ("environment variable name must be non-empty",)
    if all(" " <= character <= "~" and character != "=" for character in text):
        return ()
    return ("a valid environment variable name must consist only of printable ASCII characters other than '='",)


def header_name(text: str) -> Messages:
    if _matches(_HEADER, text):
        return ()
    return (
        regex_message("a valid HTTP header must consist of alphanumeric characters or '-'", _HEADER, "X-Header-Name"),
    )


def port_number(value: int) -> Messages:
    return () if 1 <= value <= 65535 else (field.between(1, 65535),)


@remembered.short(1024)
def port_name(text: str) -> Messages:
    found = list(_too_long(text, 15))
    if not _PORT_NAME.fullmatch(text):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", text):
        found.append("must contain at least one letter (a-z)")
    if "--" in text:
        found.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        found.append("must not begin or end with a hyphen")
    return tuple(found)


def percent(text: str) -> Messages:
    if _matches(_PERCENT, text):
        return ()
    rule = "a valid percent string must be a numeric string followed by an ending '%'"
    return (regex_message(rule, _PERCENT, "1%", "93%"),)


def user_id(value: int) -> Messages:
    return () if 0 <= value <= 0xFFFFFFFF else (field.between(0, 0xFFFFFFFF),)


group_id = user_id


def parse_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None


def ip(text: str) -> Messages:
    if parse_ip(text) is not None:
        return ()
    return ("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",)


def cidr(text: str) -> Messages:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        text = ""
    if "/" in text:
        return ()
    return ("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",)


def canonical_ip(text: str) -> Messages:
    """One way to write each address: names of objects must not tell two of what is one."""
    address = parse_ip(text)
    if address is None:
        return ip(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return ("must not be an IPv4-mapped IPv6 address",)
    return () if str(address) == text else (f"must be in canonical form ({field.quoted(str(address))})",)


def canonical_cidr(text: str) -> Messages:
    messages = cidr(text)
    if messages:
        return messages
    found = ipaddress.ip_network(text, strict=False)
    if isinstance(found, ipaddress.IPv6Network) and found.network_address.ipv4_mapped is not None:
        return ("must not have an IPv4-mapped IPv6 address",)
    if ipaddress.ip_interface(text).ip != found.network_address:
        return ("must not have bits set beyond the prefix length",)
    return () if str(found) == text else (f"must be in canonical form ({field.quoted(str(found))})",)


def special_ip(text: str) -> Messages:
    """What an endpoint or external address may not be."""
    address = parse_ip(text)
    if address is None:
        return ("must be a valid IP address",)
    found = []
    if address.is_unspecified:
        found.append(f"may not be unspecified ({text})")
    if address.is_loopback:
        found.append("may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if address.is_link_local:
        found.append("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if address in _LINK_LOCAL_MULTICAST[address.version]:
        found.append("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
    return tuple(found)


_LINK_LOCAL_MULTICAST: dict[int, ipaddress.IPv4Network | ipaddress.IPv6Network] = {
    4: ipaddress.IPv4Network("224.0.0.0/24"),
    6: ipaddress.IPv6Network("ff02::/16"),
}


def no_backsteps(path: str) -> Messages:
    return ("must not contain '..'",) if ".." in path.split("/") else ()


def descending_path(path: str) -> Messages:
    """Relative, and never upwards."""
    absolute = ("must be a relative path",) if path.startswith("/") else ()
    return (*absolute, *no_backsteps(path))


def unreserved_path(path: str) -> Messages:
    found = descending_path(path)
    if path.startswith("..") and not path.startswith("../"):
        found = (*found, "must not start with '..'")
    return found
