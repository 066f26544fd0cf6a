"""What of the host's networking and mounts an engine could leave changed: taken before, compared after.

Everything read belongs to the network and mount namespaces of the caller. An empty difference is the promise that the
host stays clean.
"""

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["HostState", "mounts", "snapshot"]

_COMMANDS: Final[Mapping[str, Sequence[str]]] = {
    "interface": ("ip", "-o", "link", "show"),
    "address": ("ip", "-o", "address", "show"),
    "route": ("ip", "route", "show", "table", "all"),
    "routing rule": ("ip", "rule", "show"),
    "packet filter": ("nft", "--stateless", "list", "ruleset"),
}
_PATH: Final = "/usr/sbin:/sbin:/usr/bin:/bin"
_PASSING: Final = re.compile(r"\s*\b(valid_lft|preferred_lft|expires|age) \S+|\\\s*")
"""Life times count down by themselves."""
_SETTINGS: Final = ("ipv4/ip_forward", "ipv4/ip_unprivileged_port_start", "ipv4/conf/all/send_redirects")


@dataclass(frozen=True, slots=True)
class HostState:
    """Facts by area, each a set of readable lines."""

    areas: Mapping[str, frozenset[str]]

    def difference(self, later: "HostState") -> list[str]:
        """Return what differs, one line each: `+ area: fact` appeared, `- area: fact` went. Empty when clean."""
        lines = []
        for area in sorted(self.areas.keys() | later.areas.keys()):
            before, after = self.areas.get(area, frozenset()), later.areas.get(area, frozenset())
            lines += [f"- {area}: {fact}" for fact in sorted(before - after)]
            lines += [f"+ {area}: {fact}" for fact in sorted(after - before)]
        return lines


def snapshot() -> HostState:
    """Read the state of the namespaces we are in. Raises OSError without `ip` or `nft`, CalledProcessError.

    The packet filter is shown to root alone; for anybody else that area stays empty, and they could not change it.
    """
    areas = {area: _lines(command) for area, command in _COMMANDS.items()}
    areas["mount"] = mounts(Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
    areas["kernel setting"] = frozenset(f"{name} = {_setting(name)}" for name in _SETTINGS)
    names = Path("/run/netns")
    areas["named namespace"] = frozenset(path.name for path in names.iterdir()) if names.is_dir() else frozenset()
    return HostState(areas)


def mounts(mountinfo: str) -> frozenset[str]:
    """Return mount point, root within the file system, type and source of each mount (proc_pid_mountinfo(5))."""
    found = set()
    for line in mountinfo.splitlines():
        head, _, tail = line.partition(" - ")
        root, point = head.split()[3:5]
        kind, source = tail.split()[:2]
        found.add(f"{point} from {source}{root} ({kind})")
    return frozenset(found)


def _lines(command: Sequence[str]) -> frozenset[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": _PATH, "LC_ALL": "C"})
    if done.returncode and "Operation not permitted" in done.stderr:
        return frozenset()
    done.check_returncode()
    return frozenset(_PASSING.sub("", line).strip() for line in done.stdout.splitlines() if line.strip())


def _setting(name: str) -> str:
    return Path("/proc/sys/net", name).read_text(encoding="ascii").strip()
