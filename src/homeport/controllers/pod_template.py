"""What a pod takes over from the template it is made from."""

from collections.abc import Mapping
from typing import Any

from homeport.api.owners import Owner

__all__ = ["pod_metadata"]


def pod_metadata(
    template: Mapping[str, Any], namespace: str, owner: Owner, added_labels: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return a pod's metadata but for its name: labels, annotations and finalizers of the template, and its owner."""
    given = template.get("metadata") or {}
    labels = {**(given.get("labels") or {}), **(added_labels or {})}
    metadata: dict[str, Any] = {"namespace": namespace, "ownerReferences": [owner.as_json()]}
    if labels:
        metadata["labels"] = labels
    for copied in ("annotations", "finalizers"):
        if given.get(copied):
            metadata[copied] = given[copied]
    return metadata
