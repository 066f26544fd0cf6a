"""Who a container runs as: the pod's numbers, or the image's `USER` looked up in the image's own files (node 10)."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from homeport.node import syscalls
from homeport.node.runtime.contract import RuntimeFailure, Security

__all__ = ["Accounts", "IdMap", "User", "accounts_beneath", "resolve"]

_MAX_FILE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class User:
    """Numeric ids; `groups` are the supplementary ones."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Accounts:
    """The lines of an image's `/etc/passwd` and `/etc/group`, split at colons."""

    passwd: Sequence[Sequence[str]] = ()
    group: Sequence[Sequence[str]] = ()


@dataclass(frozen=True, slots=True)
class IdMap:
    """The ids that exist in this user namespace: (first, count) ranges (user_namespaces(7))."""

    uids: tuple[tuple[int, int], ...]
    gids: tuple[tuple[int, int], ...]

    @classmethod
    def of_this_process(cls) -> "IdMap":
        return cls(_ranges(Path("/proc/self/uid_map")), _ranges(Path("/proc/self/gid_map")))

    @property
    def single(self) -> bool:
        """Only our own id exists, and supplementary groups cannot be set."""
        return sum(count for _, count in self.uids) == 1

    def needs_alias(self, user: User) -> bool:
        """Whether a user can only be another name for our one id, in a user namespace of the container's own."""
        return self.single and (user.uid, user.gid) != (0, 0)

    def require(self, user: User) -> User:
        """Return the user as it can be had here. Raises RuntimeFailure when an id does not exist."""
        for kind, number, ranges in (("user", user.uid, self.uids), ("group", user.gid, self.gids)):
            if not _within(number, ranges):
                raise RuntimeFailure(
                    "CreateContainerError",
                    f"{kind} {number} does not exist on this node: the engine runs as an ordinary user without "
                    f"subordinate ids for it; install newuidmap and add ranges to /etc/subuid and /etc/subgid",
                )
        groups = () if self.single else tuple(group for group in user.groups if _within(group, self.gids))
        return User(user.uid, user.gid, groups)


def resolve(security: Security, image_user: str, accounts: Accounts) -> User:
    """Return the ids a container runs as. Raises RuntimeFailure for a name the image does not know."""
    name, _, group_name = image_user.partition(":")
    if security.uid is not None:
        uid, entry, group_name = security.uid, _by_number(accounts.passwd, security.uid), ""
        if image_user.partition(":")[0] == str(uid):
            group_name = image_user.partition(":")[2]
    elif not name:
        uid, entry = 0, _by_number(accounts.passwd, 0)
    elif name.isdigit():
        uid, entry = int(name), _by_number(accounts.passwd, int(name))
    else:
        entry = next((row for row in accounts.passwd if row[0] == name), None)
        if entry is None:
            raise RuntimeFailure(
                "CreateContainerError", f"unable to find user {name}: no matching entries in passwd file"
            )
        uid = int(entry[2])
    if security.gid is not None:
        gid = security.gid
    elif group_name:
        gid = _group_number(group_name, accounts)
    else:
        gid = int(entry[3]) if entry else 0
    member_of = [int(row[2]) for row in accounts.group if entry and entry[0] in row[3].split(",")]
    groups = dict.fromkeys((gid, *security.groups, *member_of))
    return User(uid, gid, tuple(groups))


def accounts_beneath(root: int) -> Accounts:
    """Read an image's account files; links in the image lead nowhere outside it."""
    return Accounts(_rows(root, "etc/passwd", 7), _rows(root, "etc/group", 4))


def _rows(root: int, path: str, width: int) -> Sequence[Sequence[str]]:
    try:
        fd = syscalls.open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ()
    with open(fd, encoding="utf-8", errors="replace") as file:
        rows = [line.rstrip("\n").split(":") for line in file.read(_MAX_FILE).splitlines()]
    return [row for row in rows if len(row) >= width and row[2].isdigit() and (width < 7 or row[3].isdigit())]


def _by_number(rows: Sequence[Sequence[str]], number: int) -> Sequence[str] | None:
    return next((row for row in rows if row[2] == str(number)), None)


def _group_number(name: str, accounts: Accounts) -> int:
    if name.isdigit():
        return int(name)
    for row in accounts.group:
        if row[0] == name:
            return int(row[2])
    raise RuntimeFailure("CreateContainerError", f"unable to find group {name}: no matching entries in group file")


def _ranges(path: Path) -> tuple[tuple[int, int], ...]:
    rows = (line.split() for line in path.read_text(encoding="ascii").splitlines())
    return tuple((int(first), int(count)) for first, _, count in rows)


def _within(number: int, ranges: Sequence[tuple[int, int]]) -> bool:
    return any(first <= number < first + count for first, count in ranges)
