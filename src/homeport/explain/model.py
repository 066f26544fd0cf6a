"""What is explained, and from what."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["Evidence", "Explanation", "Object", "Snapshot", "labels_match", "near"]

Object: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One fact behind an explanation: the object that shows it, as `Kind name`, and what it says."""

    object: str
    says: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """`fine` when nothing is waited for and nothing is wrong; `sentence` stands alone."""

    subject: str
    fine: bool
    sentence: str
    evidence: tuple[Evidence, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "subject": self.subject,
            "fine": self.fine,
            "sentence": self.sentence,
            "evidence": [{"object": one.object, "says": one.says} for one in self.evidence],
        }


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The objects of one namespace by kind. `exists` is whether the namespace is there at all."""

    namespace: str
    domain: str
    objects: Mapping[str, tuple[Object, ...]]
    exists: bool = True

    def of(self, kind: str) -> tuple[Object, ...]:
        return self.objects.get(kind, ())

    def find(self, kind: str, name: str) -> Object | None:
        return next((obj for obj in self.of(kind) if obj["metadata"]["name"] == name), None)

    def owned(self, kind: str, owner: Object) -> list[Object]:
        """Return the objects of a kind a controller owns directly."""
        uid = owner["metadata"].get("uid")
        return [
            obj
            for obj in self.of(kind)
            if any(
                ref.get("uid") == uid and ref.get("controller") for ref in obj["metadata"].get("ownerReferences") or ()
            )
        ]

    def warnings(self, obj: Object) -> list[Object]:
        """Return the warning events about an object, the newest last."""
        metadata = obj["metadata"]
        found = [
            event
            for event in self.of("Event")
            if event.get("type") == "Warning"
            and event["involvedObject"].get("kind") == obj["kind"]
            and event["involvedObject"].get("name") == metadata["name"]
            and event["involvedObject"].get("uid") in (None, "", metadata.get("uid"))
        ]
        return sorted(found, key=_seen)

    def slices(self, service: str) -> list[Object]:
        """Return the EndpointSlices of a Service."""
        return [
            obj
            for obj in self.of("EndpointSlice")
            if (obj["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == service
        ]


def _seen(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")


def labels_match(selector: Mapping[str, str], obj: Object) -> bool:
    """Tell whether a Service's selector (all labels equal) picks an object; an empty one picks nothing."""
    labels = obj["metadata"].get("labels") or {}
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def near(name: str, objects: Iterable[Object]) -> str:
    """Return ` (there is NAME)` with the most similar name, empty without one."""
    found = difflib.get_close_matches(name, [obj["metadata"]["name"] for obj in objects], 1)
    return f" (there is {found[0]!r})" if found else ""
