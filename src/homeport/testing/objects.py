"""What invariants read off objects as they are stored."""

import re
from typing import Any

__all__ = [
    "controller_of",
    "controller_uid",
    "first_ordinal",
    "image_of",
    "is_leaving",
    "is_ready",
    "ordinal_of",
    "says_ready",
    "wants_ordinal",
]


def is_ready(pod: Any) -> bool:
    """Whether a pod is ready and not on its way out."""
    return not pod["metadata"].get("deletionTimestamp") and says_ready(pod)


def says_ready(pod: Any) -> bool:
    """Whether a pod's condition says that it is ready, also while it ends."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def is_leaving(obj: Any) -> bool:
    """Whether an object is gone or on its way out."""
    return obj is None or bool(obj["metadata"].get("deletionTimestamp"))


def ordinal_of(owner: str, pod: str) -> int | None:
    """Return the ordinal in a pod's name if the rest is its owner's."""
    found = re.fullmatch(rf"{re.escape(owner)}-(\d+)", pod)
    return int(found.group(1)) if found else None


def first_ordinal(tree: Any) -> int:
    """Return the ordinal a StatefulSet begins with."""
    return int((tree["spec"].get("ordinals") or {}).get("start", 0))


def wants_ordinal(tree: Any, ordinal: int) -> bool:
    """Whether a StatefulSet wants a pod of this ordinal."""
    return bool(0 <= ordinal - first_ordinal(tree) < tree["spec"].get("replicas", 1))


def image_of(tree: Any) -> str:
    """Return the image of a pod, or of the pods of a workload."""
    return str((tree["spec"].get("template") or tree)["spec"]["containers"][0]["image"])


def controller_of(obj: Any) -> Any | None:
    """Return the reference to an object's controller."""
    owners = obj["metadata"].get("ownerReferences") or () if obj is not None else ()
    return next((one for one in owners if one.get("controller")), None)


def controller_uid(obj: Any) -> str:
    """Return the uid of an object's controller; empty without one."""
    found = controller_of(obj)
    return str(found["uid"]) if found is not None else ""
