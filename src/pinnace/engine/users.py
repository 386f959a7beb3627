"""Who a container's process is: `user[:group]` looked up in the image's own /etc/passwd and /etc/group. Pure."""

import dataclasses


class UnknownUser(ValueError):
    """The image has no such user or group."""


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    uid: int
    gid: int
    groups: tuple[int, ...]
    """Supplementary ones, the primary one before them: so a program that gives up its group does not gain by it."""
    home: str


MAXIMUM_ID = (1 << 32) - 2


def resolve(
    user: str, supplemental: tuple[int, ...], passwd: str, group: str, *, with_members: bool | None = None
) -> Identity:
    """`user` is `uid`, `uid:gid`, `name`, `name:group` or "" (root). Raises UnknownUser.

    `with_members`: whether the groups of /etc/group count that have the user as a member; None: unless `user` names a group.
    A number without an entry has group 0, as every engine has it.
    """
    wanted, separator, wanted_group = user.partition(":")
    uid, gid, name, home = _find_user(wanted or "0", passwd)
    if with_members is None:
        with_members = not wanted_group
    groups = _groups_of(name, group) if name and with_members else ()
    if separator and wanted_group:
        gid = _find_group(wanted_group, group)
    return Identity(uid, gid, tuple(dict.fromkeys((gid, *groups, *supplemental))), home or "/")


def chosen(wanted: str, of_image: str) -> str:
    """What a container's `user` comes to: the image's own where none is wanted, or where only a group is (`:group`)."""
    if wanted.startswith(":"):
        return of_image.partition(":")[0] + wanted
    return wanted or of_image


def _find_user(wanted: str, passwd: str) -> tuple[int, int, str, str]:
    for fields in _rows(passwd, 6):
        if wanted == fields[0] or (wanted.isdigit() and fields[2] == str(int(wanted))):
            return int(fields[2]), int(fields[3]), fields[0], fields[5]
    if wanted.isdigit() and int(wanted) <= MAXIMUM_ID:
        return int(wanted), 0, "", "/"
    raise UnknownUser(f"unable to find user {wanted}: no matching entries in passwd file")


def _find_group(wanted: str, group: str) -> int:
    for fields in _rows(group, 3):
        if wanted == fields[0] or (wanted.isdigit() and fields[2] == str(int(wanted))):
            return int(fields[2])
    if wanted.isdigit() and int(wanted) <= MAXIMUM_ID:
        return int(wanted)
    raise UnknownUser(f"unable to find group {wanted}: no matching entries in group file")


def _groups_of(name: str, group: str) -> tuple[int, ...]:
    rows = (fields for fields in _rows(group, 4))
    return tuple(int(fields[2]) for fields in rows if name in fields[3].split(","))


def _rows(text: str, least: int) -> list[list[str]]:
    """Rows with enough fields and numbers where numbers belong; the rest of such files is ignored, as the C library does."""
    rows = []
    for line in text.splitlines():
        fields = line.strip().split(":")
        numbers = fields[2:4] if least > 4 else fields[2:3]
        is_whole = len(fields) >= least and all(n.isdigit() and int(n) <= MAXIMUM_ID for n in numbers)
        if is_whole and not line.startswith("#"):
            rows.append(fields)
    return rows
