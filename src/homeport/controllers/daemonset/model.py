"""The values DaemonSet decisions are made on. Source: `workloads` 10."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["DaemonSet", "Ended", "Node", "Plan", "Pod", "Status"]

Tree: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Status:
    """What the controller reports; names are those of `status`."""

    current: int = 0
    misscheduled: int = 0
    desired: int = 0
    ready: int = 0
    observed_generation: int = 0
    updated: int = 0
    available: int = 0
    unavailable: int = 0
    collision_count: int | None = None


@dataclass(frozen=True, slots=True)
class DaemonSet:
    """A DaemonSet as specified. Surge and unavailable are as written: percentages are of the nodes wanted.

    template_generation  how many templates it has had, as text; its pods carry it
    """

    namespace: str
    name: str
    uid: str
    generation: int
    template: Tree
    template_generation: str = ""
    on_delete: bool = False
    max_surge: int | str = 0
    max_unavailable: int | str = 1
    min_ready_seconds: int = 0
    history_limit: int = 10
    deleting: bool = False
    status: Status = Status()


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    labels: Mapping[str, str]
    taints: Sequence[Tree] = ()


@dataclass(frozen=True, slots=True)
class Pod:
    """A daemon pod. `target` is the node it runs on or is meant for; `bound` whether it is there already."""

    name: str
    uid: str
    target: str
    bound: bool
    digest: str
    template_generation: str
    phase: str = ""
    ready: bool = False
    available_after: float | None = None
    terminating: bool = False
    created: str = ""

    @property
    def ended(self) -> bool:
        return self.phase in ("Failed", "Succeeded")

    def available(self, now: float) -> bool:
        return self.available_after is not None and self.available_after <= now


@dataclass(frozen=True, slots=True)
class Ended:
    """A pod that failed or succeeded and goes, so that another takes its place."""

    pod: Pod
    node: str


@dataclass(frozen=True, slots=True)
class Plan:
    """One pass over a DaemonSet.

    create   nodes to make a pod for
    delete   pods to delete
    ended    pods among those to delete that people are told of; failed ones that ended lately wait
    wake_at  epoch second at which a pod turns available without any event, or None
    """

    create: tuple[str, ...]
    delete: tuple[Pod, ...]
    ended: tuple[Ended, ...]
    status: Status
    wake_at: float | None
