"""Which ReplicaSet is the new one, what number it carries, and what its annotations say.

Source: `workloads` 9.2 and 9.3.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from homeport.controllers.deployment.model import Deployment, ReplicaSet

__all__ = [
    "DESIRED",
    "HASH_LABEL",
    "HISTORY",
    "LAST_APPLIED",
    "MAX",
    "NOT_COPIED",
    "REVISION",
    "ROLLBACK_TO",
    "desired_replicas",
    "find_new",
    "max_replicas",
    "max_revision",
    "new_annotations",
    "replica_annotations",
    "replica_set_name",
    "revision_of",
    "same_template",
    "without_hash",
]

HASH_LABEL: Final = "pod-template-hash"
REVISION: Final = "deployment.kubernetes.io/revision"
HISTORY: Final = "deployment.kubernetes.io/revision-history"
DESIRED: Final = "deployment.kubernetes.io/desired-replicas"
MAX: Final = "deployment.kubernetes.io/max-replicas"
ROLLBACK_TO: Final = "deprecated.deployment.rollback.to"
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"

NOT_COPIED: Final = frozenset({LAST_APPLIED, REVISION, HISTORY, DESIRED, MAX, ROLLBACK_TO})
_HISTORY_CHARACTERS: Final = 2000
_NAME_LIMIT: Final = 253


def without_hash(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return a template as its Deployment would write it: without the label that tells ReplicaSets apart."""
    metadata = dict(template.get("metadata") or {})
    labels = {name: value for name, value in (metadata.pop("labels", None) or {}).items() if name != HASH_LABEL}
    metadata.pop("creationTimestamp", None)
    if labels:
        metadata["labels"] = labels
    return {**template, "metadata": metadata}


def same_template(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return without_hash(one) == without_hash(other)


def find_new(desired: Deployment, replica_sets: Iterable[ReplicaSet]) -> ReplicaSet | None:
    """Return the ReplicaSet of the Deployment's template; of several the oldest, so that all agree on one."""
    equal = [each for each in replica_sets if same_template(each.template, desired.template)]
    return min(equal, key=lambda each: (each.created, each.name), default=None)


def replica_set_name(deployment: str, digest: str) -> str:
    return f"{deployment[: _NAME_LIMIT - len(digest) - 1]}-{digest}"


def revision_of(replica_set: ReplicaSet) -> int:
    """Return the revision number a ReplicaSet carries; 0 when it has none that can be read."""
    return _number(replica_set.annotations.get(REVISION)) or 0


def max_revision(replica_sets: Iterable[ReplicaSet]) -> int:
    return max(map(revision_of, replica_sets), default=0)


def desired_replicas(replica_set: ReplicaSet) -> int | None:
    """Return the size its Deployment had when the ReplicaSet was last scaled; None when it does not say."""
    return _number(replica_set.annotations.get(DESIRED))


def max_replicas(replica_set: ReplicaSet) -> int | None:
    """Return the most pods its Deployment allowed when the ReplicaSet was last scaled; None when it does not say."""
    return _number(replica_set.annotations.get(MAX))


def replica_annotations(desired: Deployment) -> dict[str, str]:
    """Return what every scaled ReplicaSet remembers of its Deployment's size."""
    return {DESIRED: str(desired.replicas), MAX: str(desired.most)}


def new_annotations(desired: Deployment, current: Mapping[str, str], revision: int) -> dict[str, str]:
    """Return all annotations the new ReplicaSet should have.

    The Deployment's are copied over, never taken away; the revision only grows, and the numbers it had are remembered.
    """
    out = dict(current)
    out |= {name: value for name, value in desired.annotations.items() if name not in NOT_COPIED}
    written = current.get(REVISION, "")
    old = _number(written) if written else 0
    if old is None:
        return dict(current)  # somebody wrote a revision that is no number: leave it all alone
    if old < revision:
        out[REVISION] = str(revision)
        if REVISION in current:
            out[HISTORY] = _remember(current.get(HISTORY, ""), written)
    return out


def _remember(history: str, revision: str) -> str:
    """Append a number to the list of former ones, dropping the oldest beyond the length limit."""
    numbers: Sequence[str] = [*history.split(","), revision] if history else [revision]
    while len(numbers) > 1 and len(",".join(numbers)) > _HISTORY_CHARACTERS:
        numbers = numbers[1:]
    return ",".join(numbers)


def _number(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None
