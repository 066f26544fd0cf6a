"""What the node and its containers use, in the form of a kubelet's `/stats/summary`.

Only counters are told, with the moment they were read: whoever asks twice knows the rate. Source: node 13.
"""

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

from homeport.clock import Clock, micro_time
from homeport.node.runtime.contract import Container, Runtime, Usage

__all__ = ["Stats", "machine_usage", "no_stats", "summary"]

Tree = dict[str, Any]
Stats: TypeAlias = Callable[[], Awaitable[Tree]]
Machine: TypeAlias = Callable[[], Usage | None]

_TICK_NANOSECONDS: Final = 10**9 // os.sysconf("SC_CLK_TCK")


async def no_stats() -> Tree:
    """Know nothing."""
    return {"node": {}, "pods": []}


def machine_usage(proc: Path = Path("/proc")) -> Usage | None:
    """Return what the machine as a whole has used since it started; None where that cannot be read."""
    with suppress(OSError, ValueError, KeyError):
        first = (proc / "stat").read_text(encoding="ascii").partition("\n")[0].split()
        user, nice, system, _, _, irq, softirq, *_ = (int(word) for word in first[1:])
        pairs = (line.split() for line in (proc / "meminfo").read_text(encoding="ascii").splitlines())
        memory = {words[0].rstrip(":"): int(words[1]) * 1024 for words in pairs if len(words) > 1}
        busy = user + nice + system + irq + softirq
        return Usage(busy * _TICK_NANOSECONDS, memory["MemTotal"] - memory["MemAvailable"])
    return None


async def summary(node: str, runtime: Runtime, clock: Clock, machine: Machine = machine_usage) -> Tree:
    """Return the node's figures and those of each pod's running containers."""
    used = await runtime.usage()
    moment = micro_time(clock.now())
    whole = machine()
    pods: dict[str, Tree] = {}
    for container in await runtime.containers():
        usage, labels = used.get(container.id), container.labels
        if usage is None or container.exit is not None or "pod-uid" not in labels:
            continue
        reference = {"name": labels["pod-name"], "namespace": labels["pod-namespace"], "uid": labels["pod-uid"]}
        pod = pods.setdefault(labels["pod-uid"], {"podRef": reference, "containers": []})
        pod["containers"].append(_container(container, usage, moment))
    return {
        "node": {"nodeName": node, **(_figures(whole, moment) if whole is not None else {})},
        "pods": [*pods.values()],
    }


def _container(container: Container, usage: Usage, moment: str) -> Tree:
    started = micro_time(container.started_at)
    return {"name": container.labels.get("container", ""), "startTime": started, **_figures(usage, moment)}


def _figures(usage: Usage, moment: str) -> Tree:
    return {
        "cpu": {"time": moment, "usageCoreNanoSeconds": usage.cpu_nanoseconds},
        "memory": {"time": moment, "workingSetBytes": usage.memory_bytes},
    }
