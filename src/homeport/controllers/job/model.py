"""The values Job decisions are made on. Source: `workloads` 11."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Backoff", "Condition", "Job", "NewPod", "Plan", "Pod", "Status", "View"]

Tree = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as a Job sees it.

    index          its completion index; None when it has none that can be read
    tracked        whether it still has the finalizer of a pod that is not counted yet
    ended          epoch second it came to its end, as near as its status tells
    failures       earlier failures of its index that count, and those that do not
    restarts       of all its containers
    containers     (name, exit code) of containers that ended with another code than 0
    conditions     (type, status)
    """

    name: str
    uid: str
    node: str = ""
    phase: str = ""
    ready: bool = False
    ready_since: float | None = None
    terminating: bool = False
    created: float = 0.0
    ended: float = 0.0
    tracked: bool = True
    index: int | None = None
    failures: tuple[int, int] = (0, 0)
    restarts: int = 0
    containers: tuple[tuple[str, int], ...] = ()
    conditions: tuple[tuple[str, str], ...] = ()

    @property
    def active(self) -> bool:
        return self.phase not in ("Succeeded", "Failed") and not self.terminating


@dataclass(frozen=True, slots=True)
class Condition:
    kind: str
    status: str
    reason: str = ""
    message: str = ""
    probed: str = ""
    since: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """What is reported, and what is remembered between passes: pods that ended and are not in the counters yet."""

    active: int = 0
    ready: int | None = None
    terminating: int | None = None
    succeeded: int = 0
    failed: int = 0
    completed_indexes: str = ""
    failed_indexes: str | None = None
    uncounted_succeeded: tuple[str, ...] = ()
    uncounted_failed: tuple[str, ...] = ()
    tracking: bool = False  # whether the list of uncounted pods was ever written
    conditions: tuple[Condition, ...] = ()
    started: str = ""
    completed: str = ""

    def true(self, kind: str) -> Condition | None:
        """Return the condition of a type if it is True."""
        return next((each for each in self.conditions if each.kind == kind and each.status == "True"), None)

    @property
    def finished(self) -> bool:
        return self.true("Complete") is not None or self.true("Failed") is not None


@dataclass(frozen=True, slots=True)
class Job:
    """A Job as specified, with the defaults filled in. `per_index` is `backoffLimitPerIndex`."""

    namespace: str
    name: str
    uid: str
    parallelism: int = 1
    completions: int | None = 1
    backoff_limit: int = 6
    per_index: int | None = None
    most_failed_indexes: int | None = None
    deadline_seconds: int | None = None
    indexed: bool = False
    suspended: bool = False
    replace_when_failed: bool = False
    restarts_in_place: bool = False
    failure_policy: Sequence[Tree] = ()
    success_policy: Sequence[Tree] = ()
    deleting: bool = False
    status: Status = Status()


@dataclass(frozen=True, slots=True)
class Backoff:
    """Failures since the last success, and when the last of them was: how long to wait before the next pod."""

    failures: int = 0
    last: float = 0.0


@dataclass(frozen=True, slots=True)
class View:
    """What the pods say: how many are active, which ended, and the totals with those that are not counted yet.

    delayed  by index, the failed pod that keeps its finalizer until its replacement knows its failures
    """

    active: tuple[Pod, ...]
    terminating: int
    succeeded: int
    failed: int
    new_succeeded: tuple[Pod, ...]
    new_failed: tuple[Pod, ...]
    done: frozenset[int] = frozenset()
    lost: frozenset[int] = frozenset()
    delayed: Mapping[int, Pod] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewPod:
    """A pod to create; with an index, and what failed under that index before."""

    index: int | None = None
    failures: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """One pass over a Job.

    end       how the Job ends (`SuccessCriteriaMet`, `FailureTarget` or `Failed`) as failures and policies tell; then
              `delete` are all pods that run, and keep their finalizers
    managed   whether pods were looked after at all: not in a Job that ends or is deleted
    wake_after  seconds until something is due that no event tells
    """

    view: View
    backoff: Backoff
    end: Condition | None = None
    managed: bool = False
    create: tuple[NewPod, ...] = ()
    delete: tuple[Pod, ...] = ()
    wake_after: float | None = None
