"""What is left of a terminating namespace, and what its conditions say about that.

Source: workloads 16 of the specification; the reasons and messages are upstream's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from homeport.api.pods import is_terminal

__all__ = ["Condition", "Failure", "Remains", "conditions", "merge_conditions", "pods_patience"]

_DISCOVERED: Final = ("ResourcesDiscovered", "All resources successfully discovered")
_PARSED: Final = ("ParsedGroupVersions", "All legacy kube types successfully parsed")
_DELETED: Final = ("ContentDeleted", "All content successfully deleted, may be waiting on finalization")
_REMOVED: Final = ("ContentRemoved", "All content successfully removed")
_FINALIZED: Final = ("ContentHasNoFinalizers", "All content-preserving finalizers finished")


@dataclass(frozen=True, slots=True)
class Failure:
    """A resource whose content could not be deleted, and what the server said."""

    resource: str
    message: str


@dataclass(frozen=True, slots=True)
class Remains:
    """What a pass over the content left behind.

    instances   how many objects remain, by `<plural>.<group>`; the core group leaves a trailing dot
    finalizers  how many of them each finalizer holds
    patience    seconds that what is left may still take before anything is wrong
    """

    instances: Mapping[str, int]
    finalizers: Mapping[str, int]
    failures: Sequence[Failure] = ()
    patience: int = 0


@dataclass(frozen=True, slots=True)
class Condition:
    """A status condition; `since` is the RFC 3339 time its status last changed."""

    type: str
    status: bool
    reason: str
    message: str
    since: str = ""


def pods_patience(pods: Iterable[Mapping[str, Any]], since: float, now: float) -> int:
    """Return the seconds pods may take to end: their longest grace, since the namespace was deleted."""
    graces = (pod["spec"].get("terminationGracePeriodSeconds") or 0 for pod in pods if not is_terminal(pod))
    longest: int = max(graces, default=0)
    return longest if now - since < longest else 0


def conditions(remains: Remains) -> tuple[Condition, ...]:
    """Return the five conditions of a terminating namespace, True where something stands in the way."""
    failures = sorted(failure.message for failure in remains.failures)
    failed = f"Failed to delete all resource types, {len(failures)} remaining: {', '.join(failures)}"
    left = ", ".join(f"{name} has {count} resource instances" for name, count in sorted(remains.instances.items()))
    held = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(remains.finalizers.items()))
    return (
        Condition("NamespaceDeletionDiscoveryFailure", False, *_DISCOVERED),
        Condition("NamespaceDeletionGroupVersionParsingFailure", False, *_PARSED),
        Condition("NamespaceDeletionContentFailure", True, "ContentDeletionFailed", failed)
        if failures
        else Condition("NamespaceDeletionContentFailure", False, *_DELETED),
        Condition("NamespaceContentRemaining", True, "SomeResourcesRemain", f"Some resources are remaining: {left}")
        if left
        else Condition("NamespaceContentRemaining", False, *_REMOVED),
        Condition(
            "NamespaceFinalizersRemaining",
            True,
            "SomeFinalizersRemain",
            f"Some content in the namespace has finalizers remaining: {held}",
        )
        if held
        else Condition("NamespaceFinalizersRemaining", False, *_FINALIZED),
    )


def merge_conditions(
    current: Sequence[Condition], wanted: Sequence[Condition], now: str
) -> tuple[Condition, ...] | None:
    """Return the conditions to write, foreign ones kept; None when they already say it."""
    known = {condition.type: condition for condition in current}
    merged = dict(known)
    for condition in wanted:
        old = known.get(condition.type)
        since = old.since if old is not None and old.status == condition.status else now
        merged[condition.type] = Condition(condition.type, condition.status, condition.reason, condition.message, since)
    return None if merged == known else tuple(merged.values())
