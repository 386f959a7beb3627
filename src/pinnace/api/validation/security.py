"""Security contexts of pods and containers."""

import re

from pinnace.api.validation import field, formats

Fields = field.Fields
Causes = field.Causes

_SYSCTL_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL = rf"({_SYSCTL_SEGMENT}[\./])*{_SYSCTL_SEGMENT}"
_SYSCTL_LENGTH = 253
_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")


def pod(found: Causes, context: Fields, spec: Fields, path: str) -> None:
    for name in ("fsGroup", "runAsUser", "runAsGroup"):
        if name in context:
            found.messages(f"{path}.{name}", context[name], formats.user_id(context[name]))
    for index, group in enumerate(field.items(context, "supplementalGroups")):
        found.messages(f"{path}.supplementalGroups[{index}]", group, formats.group_id(group))
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        found.invalid(f"{path}.shareProcessNamespace", True, "ShareProcessNamespace and HostPID cannot both be enabled")
    _sysctls(found, field.items(context, "sysctls"), spec, f"{path}.sysctls")
    found.maybe_one_of(f"{path}.fsGroupChangePolicy", context.get("fsGroupChangePolicy"), ("Always", "OnRootMismatch"))
    _seccomp(found, context.get("seccompProfile"), f"{path}.seccompProfile")
    _app_armor(found, context.get("appArmorProfile"), f"{path}.appArmorProfile")
    found.maybe_one_of(f"{path}.supplementalGroupsPolicy", context.get("supplementalGroupsPolicy"), ("Merge", "Strict"))
    found.maybe_one_of(f"{path}.seLinuxChangePolicy", context.get("seLinuxChangePolicy"), ("MountOption", "Recursive"))


def container(found: Causes, context: Fields, path: str, *, host_users: bool) -> None:
    for name in ("runAsUser", "runAsGroup"):
        if name in context:
            found.messages(f"{path}.{name}", context[name], formats.user_id(context[name]))
    mount = context.get("procMount")
    if mount is not None:
        found.maybe_one_of(f"{path}.procMount", mount, ("Default", "Unmasked"))
        if host_users and mount == "Unmasked":
            found.invalid(f"{path}.procMount", mount, "`hostUsers` must be false to use `Unmasked`")
    _seccomp(found, context.get("seccompProfile"), f"{path}.seccompProfile")
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            found.invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
        if "CAP_SYS_ADMIN" in field.items(context.get("capabilities"), "add"):
            found.invalid(
                path,
                context,
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            )
    _app_armor(found, context.get("appArmorProfile"), f"{path}.appArmorProfile")


def _seccomp(found: Causes, profile: Fields | None, path: str) -> None:
    if profile is None:
        return
    kind = profile.get("type") or ""
    if not kind:
        found.required(f"{path}.type", "type is required when seccompProfile is set")
    found.maybe_one_of(f"{path}.type", kind or None, _PROFILES, is_sorted=False)
    local = profile.get("localhostProfile")
    if kind == "Localhost":
        if local is None:
            found.required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost")
        else:
            found.messages(f"{path}.localhostProfile", local, formats.descending_path(local))
    elif local is not None:
        found.invalid(f"{path}.localhostProfile", profile, "can only be set when seccomp type is Localhost")


def _app_armor(found: Causes, profile: Fields | None, path: str) -> None:
    if profile is None:
        return
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    if not kind:
        found.required(f"{path}.type", "type is required when appArmorProfile is set")
    elif kind not in _PROFILES:
        found.not_supported(f"{path}.type", kind, _PROFILES)
    elif kind == "Localhost":
        if not (local or "").strip():
            found.required(f"{path}.localhostProfile", "must be set when AppArmor type is Localhost")
        elif local != (local or "").strip():
            found.invalid(f"{path}.localhostProfile", local, "must not be padded with whitespace")
    elif local is not None:
        found.invalid(f"{path}.localhostProfile", local, "can only be set when AppArmor type is Localhost")


def _sysctls(found: Causes, sysctls: list[Fields], spec: Fields, path: str) -> None:
    names: set[str] = set()
    for index, sysctl in enumerate(sysctls):
        here, name = f"{path}[{index}].name", sysctl.get("name") or ""
        if not name:
            found.required(here)
        elif len(name) > _SYSCTL_LENGTH or not re.fullmatch(_SYSCTL, name, re.ASCII):
            found.invalid(here, name, f"must have at most {_SYSCTL_LENGTH} characters and match regex ^{_SYSCTL}$")
        elif name in names:
            found.duplicate(here, name)
        space = name.replace("/", ".")
        if spec.get("hostNetwork") and space.startswith("net."):
            found.invalid(here, name, "may not be specified when 'hostNetwork' is true")
        elif spec.get("hostIPC") and space.startswith(("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")):
            found.invalid(here, name, "may not be specified when 'hostIPC' is true")
        names.add(name)
