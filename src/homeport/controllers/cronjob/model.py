"""The values CronJob decisions are made on. Source: `workloads` 12."""

from dataclasses import dataclass

__all__ = ["Child", "CronJob", "Decision", "Reference", "Review"]


@dataclass(frozen=True, slots=True)
class Reference:
    """A Job that runs, as `status.active` names it."""

    name: str
    uid: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Child:
    """A Job the CronJob controls. `finished` is `Complete`, `Failed` or empty; times are timestamps."""

    name: str
    uid: str
    finished: str = ""
    started: str = ""
    completed: str = ""


@dataclass(frozen=True, slots=True)
class CronJob:
    """A CronJob as specified and as it stands; times are epoch seconds, but for `last_success`."""

    namespace: str
    name: str
    uid: str
    schedule: str
    created: float
    zone: str | None = None
    policy: str = "Allow"
    suspended: bool = False
    deadline_seconds: int | None = None
    keep_successful: int | None = 3
    keep_failed: int | None = 1
    deleting: bool = False
    active: tuple[Reference, ...] = ()
    last_scheduled: float | None = None
    last_success: str = ""


@dataclass(frozen=True, slots=True)
class Review:
    """What became of the Jobs.

    active   those that still run, as far as the caches know
    missing  active ones that nobody sees any more
    events   (type, reason, message)
    """

    active: tuple[Reference, ...]
    missing: tuple[Reference, ...]
    last_success: str
    events: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a Job is due.

    start       the time it was due at; None when none is to be started
    wake_after  seconds until the next time; None when there is none
    events      (type, reason, message)
    """

    start: float | None
    wake_after: float | None
    events: tuple[tuple[str, str, str], ...] = ()
