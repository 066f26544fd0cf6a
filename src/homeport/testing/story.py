"""What happened, for people: one line per change that matters, with the time it happened at."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import msgspec

from homeport.store.contract import Event

__all__ = ["Moment", "Story", "clock_text", "describe", "is_heartbeat"]

_decode: Final = msgspec.json.Decoder().decode
_QUIET: Final = (
    "/registry/events/", "/registry/coordination.k8s.io/", "/registry/endpoints/", "/registry/serviceaccounts/",
    "/registry/configmaps/kube", "/registry/rbac.authorization.k8s.io/", "/registry/priorityclasses",
)  # fmt: skip
_HEARTBEATS: Final = ("/registry/events/", "/registry/coordination.k8s.io/leases/")
_LIMIT: Final = 200


@dataclass(frozen=True, slots=True)
class Moment:
    """A change of an object, or a word about what somebody did, and when: seconds since the simulation began."""

    at: float
    what: Event | str


class Story:
    """Everything that happened, in order."""

    def __init__(self, moments: Sequence[Moment] = ()) -> None:
        self.moments: list[Moment] = list(moments)

    def say(self, at: float, text: str) -> None:
        """Note what somebody did."""
        self.moments.append(Moment(at, text))

    def changes(self) -> list[tuple[float, Event]]:
        """Return every change of the store, with its time."""
        return [(moment.at, moment.what) for moment in self.moments if isinstance(moment.what, Event)]

    def lines(self, since: float = 0.0) -> Iterator[str]:
        """Yield the readable lines, oldest first."""
        for moment in self.moments:
            if moment.at < since:
                continue
            text = f"→ {moment.what}" if isinstance(moment.what, str) else describe(moment.what)
            if text:
                yield f"{clock_text(moment.at)}  {text}"

    def text(self, since: float = 0.0, limit: int = _LIMIT) -> str:
        """Return the last `limit` lines as one text."""
        lines = list(self.lines(since))
        left_out = len(lines) - limit
        head = [f"… {left_out} earlier lines"] if left_out > 0 else []
        return "\n".join([*head, *lines[-limit:]])


def clock_text(seconds: float) -> str:
    """Return `0:01:02.500`: time since the beginning."""
    minutes, rest = divmod(seconds, 60.0)
    return f"{int(minutes // 60)}:{int(minutes % 60):02d}:{rest:06.3f}"


def is_heartbeat(event: Event) -> bool:
    """Whether a change only says that time goes on: an event, a lease, a node's own report."""
    if event.key.startswith(_HEARTBEATS):
        return True
    if not event.key.startswith("/registry/nodes/") or event.entry is None or event.previous is None:
        return False
    return _node_facts(event.previous.value) == _node_facts(event.entry.value)


def describe(event: Event) -> str:
    """Return a line about a change; empty for one that is nobody's news."""
    if event.key.startswith(_QUIET) or is_heartbeat(event):
        return ""
    name = _name(event.key)
    if event.entry is None:
        return f"{name} gone"
    new = _decode(event.entry.value)
    if event.previous is None:
        details = ", ".join(text for text in _facts(event.key, new).values() if text)
        return f"{name} created" + (f" ({details})" if details else "")
    old = _decode(event.previous.value)
    changes = _changes(_facts(event.key, old), _facts(event.key, new))
    if new["metadata"].get("deletionTimestamp") and not old["metadata"].get("deletionTimestamp"):
        changes.insert(0, "is being deleted")
    return f"{name} {'; '.join(changes)}" if changes else ""


def _changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    names = list(dict.fromkeys([*old, *new]))
    return [_change(old.get(name, ""), new.get(name, "")) for name in names if old.get(name, "") != new.get(name, "")]


def _change(old: str, new: str) -> str:
    if not old:
        return new
    return f"{old} → {new}" if new else f"no longer {old}"


@lru_cache(maxsize=4096)
def _name(key: str) -> str:
    parts = key.removeprefix("/registry/").split("/")
    if "." in parts[0] or parts[0] in ("apps", "batch", "autoscaling", "policy"):
        parts = parts[1:]
    kind = parts[0].removesuffix("s") if not parts[0].endswith("sses") else parts[0].removesuffix("es")
    place = "/".join(parts[1:])
    return f"{kind}/{place.removeprefix('default/')}"


def _facts(key: str, obj: Mapping[str, Any]) -> dict[str, str]:
    """Return what a person follows about an object."""
    kind = key.split("/")[-3] if key.count("/") > 3 else key.split("/")[-2]
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    match kind:
        case "pods":
            return _pod_facts(obj, spec, status)
        case "statefulsets" | "deployments" | "replicasets":
            facts = {"replicas": f"replicas={spec.get('replicas')}", "images": _images(spec["template"]["spec"])}
            facts["ready"] = f"ready={status.get('readyReplicas', 0)}"
            if "updatedReplicas" in status:
                facts["updated"] = f"updated={status['updatedReplicas']}"
            return facts
        case "nodes":
            return _node(obj)
        case "persistentvolumeclaims" | "persistentvolumes":
            return {"phase": str(status.get("phase", ""))}
        case "endpointslices":
            ready = [
                entry["addresses"][0]
                for entry in obj.get("endpoints") or ()
                if (entry.get("conditions") or {}).get("ready") is not False
            ]
            return {"ready": f"ready={','.join(ready) or 'none'}"}
    return {}


def _images(pod_spec: Mapping[str, Any]) -> str:
    return ",".join(str(container.get("image")) for container in pod_spec.get("containers") or ())


def _condition(obj: Mapping[str, Any], kind: str) -> str:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((str(one["status"]) for one in conditions if one["type"] == kind), "")


def _pod_facts(obj: Mapping[str, Any], spec: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, str]:
    facts = {"image": _images(spec), "phase": str(status.get("phase", "")), "node": ""}
    if spec.get("nodeName"):
        facts["node"] = f"on {spec['nodeName']}"
    facts["ready"] = "ready" if _condition(obj, "Ready") == "True" else ""
    for container in status.get("containerStatuses") or ():
        name = container["name"]
        if container.get("restartCount"):
            facts[f"restarts {name}"] = f"restarts={container['restartCount']}"
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            facts[f"waiting {name}"] = f"{name}: {waiting['reason']}"
        ended = (container.get("state") or {}).get("terminated") or {}
        if ended:
            facts[f"ended {name}"] = f"{name}: {ended.get('reason', '')} (exit code {ended.get('exitCode')})"
    return facts


def _node(obj: Mapping[str, Any]) -> dict[str, str]:
    taints = dict.fromkeys(str(taint["key"]) for taint in (obj.get("spec") or {}).get("taints") or ())
    return {"ready": f"Ready={_condition(obj, 'Ready') or 'Unknown'}", "taints": ", ".join(taints)}


@lru_cache(maxsize=256)
def _node_facts(value: bytes) -> tuple[tuple[str, str], ...]:
    return tuple(_node(_decode(value)).items())
