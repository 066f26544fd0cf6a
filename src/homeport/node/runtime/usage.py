"""What containers use: counted by their cgroups, or added up over their processes where there are none.

Source: proc(5), the kernel's cgroup documentation; node 11.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from homeport.node.runtime.cgroups import Cgroups
from homeport.node.runtime.contract import Usage

__all__ = ["processes_usage", "usage_of"]

_TICK_NANOSECONDS: Final = 10**9 // os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def usage_of(containers: Mapping[str, int], cgroups: Cgroups) -> dict[str, Usage]:
    """Return what containers use, by id.

    containers  the first process of each, in this pid namespace
    """
    counted = {each: usage for each in containers if (usage := cgroups.usage(each)) is not None}
    others = {each: pid for each, pid in containers.items() if each not in counted}
    return counted | (processes_usage(others) if others else {})


def processes_usage(containers: Mapping[str, int], proc: Path = Path("/proc")) -> dict[str, Usage]:
    """Add up processor time and resident memory of all processes in the mount namespace of each first process.

    A process's time holds that of the children it has waited for; memory that processes share counts for each of them.
    """
    wanted: dict[int, str] = {}
    for container_id, pid in containers.items():
        with suppress(OSError):
            wanted[(proc / str(pid) / "ns/mnt").stat().st_ino] = container_id
    found: dict[str, Usage] = {}
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError, ValueError, IndexError):
            container_id = wanted.get((entry / "ns/mnt").stat().st_ino, "")
            if container_id:
                before = found.get(container_id, Usage(0, 0))
                one = _process(entry)
                found[container_id] = Usage(
                    before.cpu_nanoseconds + one.cpu_nanoseconds, before.memory_bytes + one.memory_bytes
                )
    return found


def _process(entry: Path) -> Usage:
    stat = (entry / "stat").read_bytes()
    fields = stat[stat.rindex(b")") + 2 :].split()
    ticks = sum(int(fields[number]) for number in (11, 12, 13, 14))  # own and waited-for, in user and system mode
    resident = int((entry / "statm").read_bytes().split()[1])
    return Usage(ticks * _TICK_NANOSECONDS, resident * _PAGE_BYTES)
