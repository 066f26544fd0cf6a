"""What invariants read off objects as they are stored."""

import re
from typing import Any

__all__ = ["controller_uid", "is_ready", "ordinal_of"]


def is_ready(pod: Any) -> bool:
    """Whether a pod is ready and not on its way out."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def ordinal_of(owner: str, pod: str) -> int | None:
    """Return the ordinal in a pod's name if the rest is its owner's."""
    found = re.fullmatch(rf"{re.escape(owner)}-(\d+)", pod)
    return int(found.group(1)) if found else None


def controller_uid(obj: Any) -> str:
    """Return the uid of an object's controller; empty without one."""
    owners = obj["metadata"].get("ownerReferences") or ()
    return next((str(one["uid"]) for one in owners if one.get("controller")), "")
