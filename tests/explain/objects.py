"""Objects for explanations: as small as the API would show them."""

from typing import Any

from homeport.explain.model import Snapshot

RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


def pod(name: str, *, ready: bool = True, **more: Any) -> dict[str, Any]:
    """Return a pod of the set `web` unless told otherwise; `state` is its container's, `conditions` replaces all."""
    conditions = more.pop("conditions", [{"type": "Ready", "status": "True" if ready else "False"}])
    container = {"name": "main", "state": more.pop("state", RUNNING), "ready": ready, "restartCount": 0}
    status = {"phase": more.pop("phase", "Running"), "conditions": conditions, "containerStatuses": [container]}
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "labels": {"app": "web"}}
    spec = {"hostname": name, "subdomain": "nginx", "containers": [{"name": "main", "ports": [{"name": "http"}]}]}
    return {
        "kind": "Pod",
        "metadata": {**metadata, **more.pop("metadata", {})},
        "spec": {**spec, **more.pop("spec", {})},
        "status": status,
    }


def service(name: str = "nginx", **spec: Any) -> dict[str, Any]:
    """Return a headless Service of the pods above unless told otherwise."""
    body = {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}], **spec}
    return {"kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": body}


def slice_of(service_name: str, *pods: tuple[str, str, str]) -> dict[str, Any]:
    """Return a slice that names pods as (name, address, state): `ready`, `unready`, `leaving` or `gone`."""
    endpoints = [
        {
            "addresses": [address],
            "hostname": name,
            "conditions": {
                "ready": state == "ready",
                "serving": state in ("ready", "leaving"),
                "terminating": state in ("leaving", "gone"),
            },
            "targetRef": {"kind": "Pod", "name": name, "uid": f"uid-{name}"},
        }
        for name, address, state in pods
    ]
    labels = {"kubernetes.io/service-name": service_name}
    metadata = {"name": f"{service_name}-abc", "namespace": "default", "labels": labels}
    return {"kind": "EndpointSlice", "metadata": metadata, "addressType": "IPv4", "endpoints": endpoints}


def statefulset(replicas: int = 3, *, ready: int = 0, **spec: Any) -> dict[str, Any]:
    status = {
        "replicas": spec.pop("made", replicas),
        "readyReplicas": ready,
        "updatedReplicas": ready,
        "updateRevision": "web-new",
        "currentRevision": "web-old",
    }
    metadata = {"name": "web", "namespace": "default", "uid": "uid-web"}
    return {
        "kind": "StatefulSet",
        "metadata": metadata,
        "spec": {"replicas": replicas, "serviceName": "nginx", **spec},
        "status": status,
    }


def owned(obj: dict[str, Any], revision: str = "web-new") -> dict[str, Any]:
    """Let an object be one of the set's."""
    metadata = obj["metadata"]
    metadata["ownerReferences"] = [{"kind": "StatefulSet", "name": "web", "uid": "uid-web", "controller": True}]
    metadata["labels"] = {**metadata.get("labels", {}), "controller-revision-hash": revision}
    return obj


def claim(name: str, phase: str = "Bound", **metadata: Any) -> dict[str, Any]:
    spec = {"storageClassName": "standard", "volumeName": "pvc-1" if phase == "Bound" else ""}
    return {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", **metadata},
        "spec": spec,
        "status": {"phase": phase},
    }


def warning(kind: str, name: str, reason: str, message: str, count: int = 1) -> dict[str, Any]:
    return {
        "kind": "Event",
        "metadata": {"name": f"{name}.{reason}", "namespace": "default"},
        "type": "Warning",
        "involvedObject": {"kind": kind, "name": name},
        "reason": reason,
        "message": message,
        "count": count,
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }


def seen(*objects: dict[str, Any]) -> Snapshot:
    kinds = {obj["kind"] for obj in objects}
    grouped = {kind: tuple(obj for obj in objects if obj["kind"] == kind) for kind in kinds}
    return Snapshot("default", "cluster.local", grouped)
