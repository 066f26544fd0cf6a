"""Limits: one cgroup per container, made by us, entered by the container's starter before it runs.

So every runtime is used the same way, and a host that gives us no cgroup merely leaves limits unenforced (node 11.2).
Version 2 is used where it is the only one; version 1 and hybrid layouts go controller by controller.
"""

import errno
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from homeport.node.runtime.contract import Limits, Usage

__all__ = ["Cgroups", "clear_cgroups", "find_cgroups", "record_cgroups", "settings_v1", "settings_v2"]

_CONTROLLERS: Final = ("memory", "cpu", "pids")
_RECORD: Final = "cgroups.json"
_PERIOD: Final = 100_000


@dataclass(frozen=True, slots=True)
class Cgroups:
    """Where this engine's groups live: one directory per hierarchy. Empty: limits are not enforced here.

    hierarchies  controller → directory (version 1), or `""` → directory (version 2)
    """

    hierarchies: Mapping[str, Path]

    @property
    def unified(self) -> bool:
        return "" in self.hierarchies

    def create(self, container_id: str, limits: Limits) -> Sequence[str]:
        """Make the container's groups with their limits; return the `cgroup.procs` files to enter.

        A limit the kernel refuses is left out: it is better to run than not to. Where nothing is limited a group still
        counts what is used, but for that of processes, which is passed over then.
        """
        entered = []
        for controller, base in self.hierarchies.items():
            settings = settings_v2(limits) if controller == "" else settings_v1(controller, limits)
            if not settings and controller == "pids":
                continue
            group = base / container_id
            try:
                group.mkdir(parents=True, exist_ok=True)
            except OSError:
                continue
            for name, value in settings:
                with suppress(OSError):
                    (group / name).write_text(value, encoding="ascii")
            entered.append(str(group / "cgroup.procs"))
        return entered

    def oom_kills(self, container_id: str) -> int:
        """Return how many processes of the container the kernel has killed for want of memory."""
        base = self.hierarchies.get("") or self.hierarchies.get("memory")
        if base is None:
            return 0
        file = base / container_id / ("memory.events" if self.unified else "memory.oom_control")
        try:
            lines = file.read_text(encoding="ascii").splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)

    def usage(self, container_id: str) -> Usage | None:
        """Return what the container's group has used; None where the kernel does not count it."""
        try:
            cpu = self._cpu(container_id)
            return None if cpu is None else self._with_memory(container_id, cpu)
        except (OSError, ValueError):
            return None

    def _cpu(self, container_id: str) -> int | None:
        if self.unified:
            counted = _pairs(self.hierarchies[""] / container_id / "cpu.stat").get("usage_usec")
            return None if counted is None else counted * 1000
        base = self.hierarchies.get("cpu")
        return None if base is None else int((base / container_id / "cpuacct.usage").read_text(encoding="ascii"))

    def _with_memory(self, container_id: str, cpu: int) -> Usage | None:
        """Files cached and not in use do not count: the kernel takes their memory back when it is wanted."""
        base = self.hierarchies.get("") or self.hierarchies.get("memory")
        if base is None:
            return None
        group = base / container_id
        current = "memory.current" if self.unified else "memory.usage_in_bytes"
        inactive = _pairs(group / "memory.stat").get("inactive_file" if self.unified else "total_inactive_file", 0)
        return Usage(cpu, max(0, int((group / current).read_text(encoding="ascii")) - inactive))

    def remove(self, container_id: str) -> None:
        """Drop the container's groups once they are empty. Absent is fine."""
        for base in self.hierarchies.values():
            for group in (base / container_id, base):
                try:
                    group.rmdir()
                except OSError as error:
                    if error.errno not in (errno.ENOENT, errno.EBUSY, errno.ENOTEMPTY):
                        raise


def find_cgroups(
    cluster: str,
    *,
    from_top: bool = False,
    mounts: Path = Path("/proc/self/mountinfo"),
    own: Path = Path("/proc/self/cgroup"),
) -> Cgroups:
    """Find the hierarchies this process may write to. `cluster` names our part of them.

    from_top  our part is at the top of each hierarchy, where a runtime that makes its own groups puts them, instead of
              below the group we are in
    """
    groups = {} if from_top else _own_groups(own.read_text(encoding="utf-8"))
    version_1: dict[str, Path] = {}
    version_2: Path | None = None
    for line in mounts.read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition(" - ")
        mount_point, kind, options = before.split()[4], *after.split()[0::2]
        if kind == "cgroup2":
            version_2 = Path(mount_point)
        elif kind == "cgroup":
            for controller in set(options.split(",")) & set(_CONTROLLERS):
                base = Path(mount_point + groups.get(controller, "/"))
                version_1[controller] = base if base.is_dir() else Path(mount_point)
    if version_1:
        usable = {name: base / cluster for name, base in version_1.items() if os.access(base, os.W_OK)}
        return Cgroups(usable)
    if version_2 is not None and os.access(version_2 / "cgroup.subtree_control", os.W_OK):
        base = version_2 / cluster
        if _delegate(version_2) and (base.is_dir() or _made(base)) and _delegate(base):
            return Cgroups({"": base})
    return Cgroups({})


def record_cgroups(cgroups: Cgroups, run: Path) -> None:
    """Note in `<run>/cgroups.json` where the groups are: whoever clears them may live in another group itself."""
    places = {controller: str(base) for controller, base in cgroups.hierarchies.items()}
    (run / _RECORD).write_text(json.dumps(places), encoding="utf-8")


def clear_cgroups(run: Path, container_ids: Iterable[str]) -> None:
    """Drop the groups of containers that have ended together with their engine. Groups still in use stay."""
    try:
        places = json.loads((run / _RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    cgroups = Cgroups({controller: Path(base) for controller, base in places.items()})
    for container_id in container_ids:
        cgroups.remove(container_id)
    for base in cgroups.hierarchies.values():
        with suppress(OSError):
            base.rmdir()


def settings_v1(controller: str, limits: Limits) -> Sequence[tuple[str, str]]:
    """Return the files to write in one version 1 hierarchy, in order."""
    match controller:
        case "memory" if limits.memory_bytes:
            value = str(limits.memory_bytes)
            return (("memory.limit_in_bytes", value), ("memory.memsw.limit_in_bytes", value))
        case "cpu":
            quota = limits.cpu_quota_microseconds
            shares = (("cpu.shares", str(limits.cpu_shares)),) if limits.cpu_shares else ()
            bound = (("cpu.cfs_period_us", str(_PERIOD)), ("cpu.cfs_quota_us", str(quota))) if quota else ()
            return (*shares, *bound)
        case "pids" if limits.pids:
            return (("pids.max", str(limits.pids)),)
    return ()


def settings_v2(limits: Limits) -> Sequence[tuple[str, str]]:
    """Return the files to write in a version 2 group, in order (node 11.1)."""
    settings = []
    if limits.memory_bytes:
        settings += [("memory.max", str(limits.memory_bytes)), ("memory.swap.max", "0"), ("memory.oom.group", "1")]
    if limits.cpu_shares:
        settings.append(("cpu.weight", str(1 + (limits.cpu_shares - 2) * 9999 // 262142)))
    if limits.cpu_quota_microseconds:
        settings.append(("cpu.max", f"{limits.cpu_quota_microseconds} {_PERIOD}"))
    if limits.pids:
        settings.append(("pids.max", str(limits.pids)))
    return settings


def _pairs(file: Path) -> dict[str, int]:
    lines = (line.split() for line in file.read_text(encoding="ascii").splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) == 2}


def _own_groups(text: str) -> dict[str, str]:
    groups = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), path))
    return groups


def _delegate(group: Path) -> bool:
    try:
        (group / "cgroup.subtree_control").write_text("+memory +cpu +pids", encoding="ascii")
    except OSError:
        return False
    return True


def _made(group: Path) -> bool:
    try:
        group.mkdir()
    except OSError:
        return False
    return True
