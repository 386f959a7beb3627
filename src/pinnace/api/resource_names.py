"""What the name of a compute resource says about it. Apart from validation, which a node has no use for."""


def is_huge_page(name: str) -> bool:
    return name.startswith("hugepages-")


def is_native(name: str) -> bool:
    prefix, slash, _ = name.partition("/")
    return not slash or prefix == "kubernetes.io" or prefix.endswith(".kubernetes.io")


def is_extended(name: str) -> bool:
    """`name` is a qualified name; one that leaves no room for a quota's `requests.` before it is none (see validation)."""
    return not is_native(name) and not name.startswith("requests.")


def allows_overcommit(name: str) -> bool:
    return is_native(name) and not is_huge_page(name)
