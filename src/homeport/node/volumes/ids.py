"""Which user and group ids exist here: an ordinary user's namespace often has one of each.

Files cannot be given to an id that is not mapped, and no process can run as it, so nothing is lost by not trying.
Source: user_namespaces(7).
"""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["IdMaps", "parse_map", "this_process"]

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class IdMaps:
    """First id and number of ids of each mapped range."""

    users: Ranges
    groups: Ranges

    def user(self, uid: int | None) -> int | None:
        """Return the uid when it is mapped, None otherwise."""
        return uid if uid is not None and _within(uid, self.users) else None

    def group(self, gid: int | None) -> int | None:
        """Return the gid when it is mapped, None otherwise."""
        return gid if gid is not None and _within(gid, self.groups) else None


def _within(number: int, ranges: Ranges) -> bool:
    return any(first <= number < first + count for first, count in ranges)


def parse_map(text: str) -> Ranges:
    """Read /proc/<pid>/uid_map or gid_map: id inside, id outside, how many."""
    rows = [line.split() for line in text.splitlines()]
    return tuple((int(row[0]), int(row[2])) for row in rows if len(row) == 3)


def this_process() -> IdMaps:
    """Return the maps of the namespace this process is in. Raises OSError."""
    return IdMaps(parse_map(Path("/proc/self/uid_map").read_text()), parse_map(Path("/proc/self/gid_map").read_text()))
