"""What lately became of a pod, a Service or a workload: changes of objects folded into a timeline, or undone. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from homeport.clock import milli_time, parse_time
from homeport.explain.model import Object, Snapshot, labels_match
from homeport.explain.names import Asked

__all__ = ["Change", "Concern", "Moment", "rewound", "timeline"]

_SERVICE_LABEL: Final = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one object, `at` epoch seconds: `old` is None when it was made, `new` when it was deleted."""

    kind: str
    name: str
    at: float
    old: Object | None
    new: Object | None

    @classmethod
    def read(cls, tree: Mapping[str, Any]) -> "Change":
        """Return the change the server tells of."""
        old, new = ({"kind": tree["kind"], **state} if state else None for state in (tree["old"], tree["new"]))
        return cls(tree["kind"], tree["name"], parse_time(tree["time"]), old, new)


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened, `at` epoch seconds."""

    at: float
    object: str
    says: str

    def as_json(self, now: float) -> dict[str, Any]:
        """Return it with its age, given the present, epoch seconds."""
        age = round(max(now - self.at, 0.0), 3)
        return {"time": milli_time(self.at), "ageSeconds": age, "object": self.object, "says": self.says}


@dataclass(frozen=True, slots=True)
class Concern:
    """Whose changes count: pods and Services by name, pods of one owner, and pods that `services` select.

    owners    kind and name of controllers
    selector  of the Services; pods that had its labels before or after a change count
    """

    pods: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()
    owners: frozenset[tuple[str, str]] = frozenset()
    selectors: tuple[Mapping[str, str], ...] = ()

    @classmethod
    def of_service(cls, name: str, service: Object | None) -> "Concern":
        """Return what a Service depends on: itself, its slices, the pods it selects."""
        selector = ((service or {}).get("spec") or {}).get("selector") or {}
        return cls(services=frozenset((name,)), selectors=(selector,))

    def with_pod(self, name: str) -> "Concern":
        return replace(self, pods=self.pods | {name})

    @classmethod
    def of_name(cls, meaning: Asked, service: Object | None) -> "Concern":
        """Return what a DNS name depends on: for a member's, the Service and that pod alone."""
        if not meaning.host:
            return cls.of_service(meaning.service, service)
        return cls(pods=frozenset((meaning.host,)), services=frozenset((meaning.service,)))

    def _has_pod(self, name: str, pod: Object) -> bool:
        if name in self.pods or any(labels_match(selector, pod) for selector in self.selectors):
            return True
        refs = pod["metadata"].get("ownerReferences") or ()
        return any((ref.get("kind"), ref.get("name")) in self.owners for ref in refs)

    def covers(self, change: Change) -> bool:
        """Tell whether a change counts."""
        states = [state for state in (change.old, change.new) if state is not None]
        match change.kind:
            case "Pod":
                return any(self._has_pod(change.name, state) for state in states)
            case "Service":
                return change.name in self.services
            case "EndpointSlice":
                if self.services:
                    return any(_labels(state).get(_SERVICE_LABEL) in self.services for state in states)
                return any(pod in self.pods for state in states for pod, _ in _states(state).values())
        return (change.kind, change.name) in self.owners


def timeline(changes: Iterable[Change], concern: Concern) -> list[Moment]:
    """Return what happened, oldest first, given changes in the order they were made."""
    found = []
    for change in changes:
        if concern.covers(change):
            about = f"{change.kind} {change.name}"
            found += [Moment(change.at, about, says) for says in _says(change, concern)]
    return found


def rewound(seen: Snapshot, first_changes: Iterable[Change], moment: float) -> Snapshot:
    """Return a namespace as it was at a moment, epoch seconds, given how it is at present.

    first_changes  of every object that changed since then the first change; those made after `seen` may be among them
    Events that were not told yet are left out. Objects of other kinds stay as they are.
    """
    undone = {(change.kind, change.name): change.old for change in first_changes}
    kinds = {*seen.objects, *(kind for kind, _ in undone)}
    objects = {}
    for kind in kinds:
        kept = [obj for obj in seen.of(kind) if (kind, obj["metadata"]["name"]) not in undone]
        back = [old for (other, _), old in undone.items() if other == kind and old is not None]
        objects[kind] = tuple(sorted((*kept, *back), key=lambda obj: str(obj["metadata"]["name"])))
    objects["Event"] = tuple(event for event in seen.of("Event") if _first_told(event) <= moment)
    return replace(seen, objects=objects, exists=seen.exists or any(objects.values()))


def _first_told(event: Object) -> float:
    return parse_time(event.get("firstTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def _says(change: Change, concern: Concern) -> Iterator[str]:
    old, new = change.old, change.new
    match change.kind:
        case "EndpointSlice":
            yield from _slice(old, new, concern)
        case _ if old is None:
            yield "created"
        case _ if new is None:
            yield "deleted: it is gone"
        case "Pod":
            yield from _pod(old, new)
        case "Service":
            yield from _fields(old, new)
        case _:
            yield from _owner(old, new)


def _pod(old: Object, new: Object) -> Iterator[str]:
    before, after = old.get("status") or {}, new.get("status") or {}
    if new["metadata"].get("deletionTimestamp") and not old["metadata"].get("deletionTimestamp"):
        grace = new["metadata"].get("deletionGracePeriodSeconds")
        yield "terminating" + (f": it has {grace} s to end" if grace is not None else "")
    if (node := new["spec"].get("nodeName")) and not old["spec"].get("nodeName"):
        yield f"scheduled to {node}"
    if (addresses := _addresses(after)) and addresses != _addresses(before):
        yield f"has the address{'es' if ',' in addresses else ''} {addresses}"
    if before.get("phase") != after.get("phase"):
        yield f"phase {before.get('phase') or 'none'} → {after.get('phase') or 'none'}"
    yield from _containers(before, after)
    ready, was = _ready(after), _ready(before)
    if ready.get("status") == "True" and was.get("status") != "True":
        yield "became ready"
    elif was.get("status") == "True" and ready.get("status") != "True":
        words = ": ".join(filter(None, (ready.get("reason"), ready.get("message"))))
        yield "is no longer ready" + (f" ({words})" if words else "")
    yield from _changed("label", _labels(old), _labels(new))


def _addresses(status: Object) -> str:
    return ", ".join(one["ip"] for one in status.get("podIPs") or ()) or status.get("podIP") or ""


def _containers(before: Object, after: Object) -> Iterator[str]:
    known = {one["name"]: one for one in before.get("containerStatuses") or ()}
    for one in after.get("containerStatuses") or ():
        earlier = known.get(one["name"]) or {}
        state, was = one.get("state") or {}, earlier.get("state") or {}
        if "running" in state and "running" not in was:
            yield f"container {one['name']} runs" + (f", restart {one['restartCount']}" if one["restartCount"] else "")
        if (ended := state.get("terminated")) and "terminated" not in was:
            yield f"container {one['name']} ended with exit code {ended.get('exitCode')} ({ended.get('reason', '')})"
        reason = (state.get("waiting") or {}).get("reason", "")
        if reason and reason != (was.get("waiting") or {}).get("reason") and reason != "ContainerCreating":
            yield f"container {one['name']} waits: {reason}"


def _ready(status: Object) -> Object:
    return next((one for one in status.get("conditions") or () if one["type"] == "Ready"), {})


def _labels(obj: Object) -> Mapping[str, Any]:
    return obj["metadata"].get("labels") or {}


def _fields(old: Object, new: Object) -> Iterator[str]:
    if new["metadata"].get("deletionTimestamp") and not old["metadata"].get("deletionTimestamp"):
        yield "deletion asked for"
    yield from _changed("spec", old.get("spec") or {}, new.get("spec") or {})
    yield from _changed("label", _labels(old), _labels(new))
    yield from _changed(
        "annotation", old["metadata"].get("annotations") or {}, new["metadata"].get("annotations") or {}
    )


def _owner(old: Object, new: Object) -> Iterator[str]:
    """What was asked of a controller, or became of a claim; what a controller makes of it is told by its pods."""
    if new["metadata"].get("deletionTimestamp") and not old["metadata"].get("deletionTimestamp"):
        yield "deletion asked for"
    before, after = old.get("spec") or {}, new.get("spec") or {}
    for key in sorted({*before, *after}):
        if before.get(key) == after.get(key):
            continue
        if key == "template":
            images = _images(before[key]), _images(after[key])
            yield "pod template changed" + (f": {images[0]} → {images[1]}" if images[0] != images[1] else "")
        elif isinstance(before.get(key) or after.get(key), (Mapping, list)):
            yield f"spec {key} changed"
        else:
            yield f"spec {key}: {_text(before.get(key))} → {_text(after.get(key))}"
    phases = [(state.get("status") or {}).get("phase") for state in (old, new)]
    if phases[0] != phases[1]:
        yield f"phase {phases[0] or 'none'} → {phases[1] or 'none'}"


def _images(template: Object) -> str:
    return ", ".join(one.get("image", "") for one in (template.get("spec") or {}).get("containers") or ())


def _changed(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            yield f"{what} {key}: {_text(old.get(key))} → {_text(new.get(key))}"


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return ",".join(f"{key}={_text(one)}" for key, one in value.items()) or "none"
    return ", ".join(map(_text, value)) if isinstance(value, list) else str(value)


def _states(obj: Object | None) -> dict[str, tuple[str, str]]:
    """Return pod and state of each address of a slice."""
    found = {}
    for entry in (obj or {}).get("endpoints") or ():
        conditions = entry.get("conditions") or {}
        ready = conditions.get("ready") is not False
        serving = ready if conditions.get("serving") is None else bool(conditions["serving"])
        if conditions.get("terminating"):
            state = "ready, terminating" if ready else "terminating, still serving" if serving else "terminating"
        else:
            state = "ready" if ready else "not ready"
        for address in (entry.get("addresses") or ())[:1]:
            found[address] = (entry.get("targetRef") or {}).get("name") or "", state
    return found


def _slice(old: Object | None, new: Object | None, concern: Concern) -> Iterator[str]:
    before, after = _states(old), _states(new)
    alone = concern.pods if not concern.selectors else frozenset[str]()  # of members, those asked about
    for address in (*before, *(address for address in after if address not in before)):
        pod, was = before.get(address, ("", ""))
        pod, state = after.get(address, (pod, ""))
        if state == was or (alone and pod not in alone):
            continue
        who = f"{address} ({pod})" if pod else address
        if not was:
            yield f"endpoint {who} added: {state}"
        else:
            yield f"endpoint {who}: {was} → {state}" if state else f"endpoint {who} taken out"
    if not alone and old is not None and new is not None and old.get("ports") != new.get("ports"):
        yield f"ports: {_ports(old)} → {_ports(new)}"


def _ports(obj: Object) -> str:
    return ", ".join(f"{one.get('name') or ''}={one.get('port')}" for one in obj.get("ports") or ()) or "none"
