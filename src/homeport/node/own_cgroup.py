"""Which cgroup this process belongs to, in the hierarchy another group is in. Source: cgroups(7), proc(5).

Standard library only, like everything the namespace keeper runs on.
"""

import os
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["home_in", "home_of"]


def home_of(procs: str) -> str | None:
    """Return the `cgroup.procs` file of our own group, in the hierarchy the file `procs` is in; None if out of reach.

    To write to it is to come back from a group that has been entered. What is found for one group is taken for all
    beside it: the list of mounts grows with the containers.
    """
    return _home_beside(os.path.dirname(os.path.dirname(procs)))


@lru_cache(maxsize=16)
def _home_beside(groups: str) -> str | None:
    procs = f"{groups}/one/cgroup.procs"
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts, open("/proc/self/cgroup", encoding="utf-8") as own:
        home = home_in(procs, mounts, own)
    return home if home is not None and os.access(home, os.W_OK) else None


def home_in(procs: str, mounts: Iterable[str], own: Iterable[str]) -> str | None:
    """Return what `home_of` does, by the lines of `/proc/self/mountinfo` and `/proc/self/cgroup`."""
    best: tuple[str, str, set[str]] | None = None
    for line in mounts:
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind, _, options = after.split(maxsplit=2)
        if kind not in ("cgroup", "cgroup2") or not procs.startswith(f"{point.rstrip('/')}/"):
            continue
        if best is None or len(point) >= len(best[1]):
            best = root, point, {""} if kind == "cgroup2" else set(options.strip().split(","))
    if best is None:
        return None
    root, point, controllers = best
    for line in own:
        _, names, path = line.rstrip("\n").split(":", 2)
        if not controllers.isdisjoint(names.split(",")):
            inside = path if root == "/" else path.removeprefix(root) if _beneath(path, root) else None
            return None if inside is None else f"{point}/{inside.strip('/')}/cgroup.procs".replace("//", "/")
    return None


def _beneath(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root}/")
