"""Kernel settings of the network namespace the calling thread is in."""

from pathlib import Path
from typing import Final

__all__ = ["NO_LINK_LOCAL", "allow_ping", "prefer", "write"]

NO_LINK_LOCAL: Final = "1"
"""For `ipv6/conf/*/addr_gen_mode`: nobody needs such addresses, and duplicate detection would echo on hairpin ports."""

_ROOT: Final = Path("/proc/sys/net")
_LARGEST_GROUP: Final = 2_147_483_647


def write(name: str, value: str) -> None:
    """Set `net/<name>`, such as `ipv4/ip_forward`. Raises OSError."""
    with (_ROOT / name).open("w", encoding="ascii") as file:
        file.write(value)


def prefer(name: str, value: str) -> None:
    """Set `net/<name>` where the kernel has it and lets us; for settings that are better one way and work either way.

    Absent means its module is not loaded; read-only, that the kernel keeps it from user namespaces.
    """
    try:
        write(name, value)
    except (FileNotFoundError, PermissionError):
        return


def allow_ping() -> None:
    """Let every group this user namespace maps send ICMP echo requests without privilege."""
    write("ipv4/ping_group_range", f"0 {_largest_mapped_group()}")


def _largest_mapped_group() -> int:
    """Return the last group id of the mapping that starts at 0, within what the kernel accepts."""
    for line in Path("/proc/self/gid_map").read_text(encoding="ascii").splitlines():
        inside, _, count = (int(field) for field in line.split())
        if inside == 0:
            return min(count - 1, _LARGEST_GROUP)
    return 0
