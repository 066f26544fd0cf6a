"""What an autoscaler asks for, what is known about its pods, and what is decided. Source: workloads 21.

Amounts are thousandths: of a processor, or of a byte. Times are epoch seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = [
    "ABLE_TO_SCALE",
    "SCALING_ACTIVE",
    "SCALING_LIMITED",
    "Autoscaler",
    "Behavior",
    "Condition",
    "Memory",
    "Metric",
    "Note",
    "Pod",
    "PodUsage",
    "Policy",
    "Rules",
    "Scale",
    "Tolerances",
]

ABLE_TO_SCALE: Final = "AbleToScale"
SCALING_ACTIVE: Final = "ScalingActive"
SCALING_LIMITED: Final = "ScalingLimited"


@dataclass(frozen=True, slots=True)
class Tolerances:
    """How far usage may be from its target, as a share of it, before anything changes."""

    down: float = 0.1
    up: float = 0.1

    def cover(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(frozen=True, slots=True)
class Policy:
    """At most `value` pods, or percent of them, in `period` seconds; `kind` is Pods or Percent."""

    kind: str
    value: int
    period: int


@dataclass(frozen=True, slots=True)
class Rules:
    """One direction: `choice` is Max, Min or Disabled; `window` seconds of recommendations are looked back on."""

    window: int
    choice: str
    policies: tuple[Policy, ...]

    @property
    def longest_period(self) -> int:
        return max((policy.period for policy in self.policies), default=0)


@dataclass(frozen=True, slots=True)
class Behavior:
    up: Rules
    down: Rules


@dataclass(frozen=True, slots=True)
class Metric:
    """What to measure.

    kind         Resource, ContainerResource, or another source, which nobody here can answer
    container    the one that counts, "" for all
    utilization  target as a percentage of what is requested, else None
    average      target per pod, else None
    shown        the metric as the object has it, for sources nobody answers
    """

    kind: str
    resource: str = ""
    container: str = ""
    utilization: int | None = None
    average: int | None = None
    shown: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """`low` and `high` bound the replicas; `behavior` None follows the classic rules."""

    low: int
    high: int
    metrics: tuple[Metric, ...]
    tolerances: Tolerances = Tolerances()
    behavior: Behavior | None = None


@dataclass(frozen=True, slots=True)
class Scale:
    """The target's scale: replicas asked for, replicas there are."""

    wanted: int
    present: int = 0


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the target.

    ready, ready_since  the Ready condition; None without one
    started             when the node took it on, None before
    requests            by container name, in order: what it requests; regular containers and sidecars
    level               what the pod as a whole requests, None when only its containers say
    """

    name: str
    phase: str
    terminating: bool = False
    ready: bool | None = True
    ready_since: float = 0.0
    started: float | None = 0.0
    requests: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    level: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class PodUsage:
    """What the metrics API says of a pod: usage by container and resource, over `window` seconds up to `at`."""

    at: float
    window: float
    containers: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Memory:
    """What an autoscaler remembers: (time, replicas) of recommendations, (time, change) of what was done."""

    recommendations: tuple[tuple[float, int], ...] = ()
    ups: tuple[tuple[float, int], ...] = ()
    downs: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition as it should be; when it last changed is the object's business."""

    type: str
    status: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Note:
    """A Warning event."""

    reason: str
    message: str
