"""What a failing test shows of a cluster: objects and what they wait for, the last events, the story so far."""

from collections.abc import Iterator
from typing import Any, Final

from homeport.api.resources import find
from homeport.client.readiness import verdict
from homeport.testing.facade import Cluster
from homeport.testing.handles import Event

__all__ = ["report"]

_KINDS: Final = tuple(
    find(kind, group)
    for kind, group in (
        ("Node", ""), ("StatefulSet", "apps"), ("Deployment", "apps"), ("DaemonSet", "apps"), ("Job", "batch"),
        ("Pod", ""), ("PersistentVolumeClaim", ""),
    )
)  # fmt: skip
_EVENTS: Final = 30


def report(cluster: Cluster) -> list[tuple[str, str]]:
    """Return titles and texts; what cannot be told any more says why."""
    parts = (("objects", _objects), ("events", _events), ("story", lambda cluster: cluster.story()))
    return [(f"Homeport {name} ({cluster.title})", _told(cluster, tell)) for name, tell in parts]


def _told(cluster: Cluster, tell: Any) -> str:
    try:
        return str(tell(cluster)) or "nothing"
    except Exception as error:  # the test's own failure is what matters
        return f"cannot be told: {type(error).__name__}: {error}"


def _objects(cluster: Cluster) -> str:
    lines = []
    for resource in _KINDS:
        for tree in cluster.objects(resource):
            metadata = tree["metadata"]
            namespace = metadata.get("namespace", "default")
            place = metadata["name"] if namespace == "default" else f"{namespace}/{metadata['name']}"
            facts = ", ".join(fact for fact in _facts(cluster, resource.kind, tree) if fact)
            lines.append(f"{resource.singular}/{place}: {facts}")
    return "\n".join(lines)


def _facts(cluster: Cluster, kind: str, tree: Any) -> Iterator[str]:
    spec, status = tree.get("spec") or {}, tree.get("status") or {}
    conditions = {one["type"]: one["status"] for one in status.get("conditions") or ()}
    match kind:
        case "Node":
            yield "ready" if conditions.get("Ready") == "True" else "not ready"
            yield " ".join(taint["key"] for taint in spec.get("taints") or ())
            return
        case "Pod":
            yield str(status.get("phase", ""))
            yield f"on {spec['nodeName']}" if spec.get("nodeName") else ""
            yield str(status.get("podIP", ""))
            yield " ".join(one["image"] for one in spec["containers"])
            restarts = sum(one.get("restartCount", 0) for one in status.get("containerStatuses") or ())
            yield f"{restarts} restarts" if restarts else ""
            yield "being deleted" if tree["metadata"].get("deletionTimestamp") else ""
        case "PersistentVolumeClaim":
            yield str(status.get("phase", ""))
            yield str(spec.get("volumeName", ""))
            return
    obj = {"kind": kind, **tree}
    found = verdict(obj, cluster.owned(obj))
    yield found.progress
    yield "ready" if found.ready else f"waits for {found.waits_for}"


def _events(cluster: Cluster) -> str:
    events = [one for one in cluster.events() if one.about[0] != "Node" or one.type != "Normal"]
    left_out = len(events) - _EVENTS
    head = [f"… {left_out} earlier events"] if left_out > 0 else []
    return "\n".join([*head, *map(_line, events[-_EVENTS:])])


def _line(event: Event) -> str:
    kind, namespace, name = event.about
    place = name if namespace in ("", "default") else f"{namespace}/{name}"
    times = f" (×{event.count})" if event.count > 1 else ""
    return f"{event.type:8} {kind.lower()}/{place} {event.reason}: {event.message}{times}"
