"""The workloads that tests create: small manifests of the web server, and what is waited for again and again."""

from collections.abc import Mapping, Sequence
from typing import Any

from homeport.client.contract import PatchType
from tests.conformance.world import PORT, World, is_ready, web_container

__all__ = [
    "SELECTOR",
    "bare_pod",
    "claim_template",
    "condition",
    "deployment",
    "exceeds_its_quota",
    "headless",
    "images",
    "replicaset",
    "replicationcontroller",
    "saturated",
    "shows_status_to_all",
    "statefulset",
    "template",
    "works_as_scale_subresource",
]

LABELS = {"foo": "bar", "baz": "blah"}
SELECTOR = "baz=blah,foo=bar"
GRACE_SECONDS = 1


def template(container: Mapping[str, Any], labels: Mapping[str, str], **spec: Any) -> dict[str, Any]:
    """Return a pod template of one container."""
    body = {"terminationGracePeriodSeconds": GRACE_SECONDS, "containers": [container], **spec}
    return {"metadata": {"labels": dict(labels)}, "spec": body}


def bare_pod(name: str, image: str, labels: Mapping[str, str] = LABELS, **spec: Any) -> dict[str, Any]:
    """Return a pod of the web server that nobody owns."""
    made = template(web_container(image), labels, **spec)
    made["metadata"]["name"] = name
    return {"apiVersion": "v1", "kind": "Pod", **made}


def headless(name: str = "test", labels: Mapping[str, str] = LABELS) -> dict[str, Any]:
    """Return a headless Service of the web server."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"clusterIP": "None", "selector": dict(labels), "ports": [{"port": PORT, "name": "http"}]},
    }


def claim_template(name: str = "datadir") -> dict[str, Any]:
    """Return a claim template of a StatefulSet."""
    request = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    return {"metadata": {"name": name}, "spec": request}


def statefulset(
    name: str,
    image: str,
    replicas: int,
    *,
    labels: Mapping[str, str] = LABELS,
    probe: bool = False,
    claims: bool = False,
    pod: Mapping[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """Return a StatefulSet governed by the Service `test`.

    probe   whether readiness is asked of the web server
    claims  whether each pod has a claim `datadir`, at /data
    pod     what else its pods say
    """
    container = web_container(image, probe=probe)
    if claims:
        container["volumeMounts"] = [{"name": "datadir", "mountPath": "/data"}]
        spec["volumeClaimTemplates"] = [claim_template()]
    body = {
        "serviceName": "test",
        "replicas": replicas,
        "selector": {"matchLabels": dict(labels)},
        "template": template(container, labels, **(pod or {})),
        "updateStrategy": {"type": "RollingUpdate"},
        **spec,
    }
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}, "spec": body}


def deployment(
    name: str, image: str, replicas: int, *, labels: Mapping[str, str], probe: bool = False, **spec: Any
) -> dict[str, Any]:
    """Return a Deployment; its own labels are those of its pods."""
    return _fleet("Deployment", name, image, replicas, labels, probe, spec)


def replicaset(
    name: str, image: str, replicas: int, *, labels: Mapping[str, str], probe: bool = False, **spec: Any
) -> dict[str, Any]:
    """Return a ReplicaSet; its own labels are those of its pods."""
    return _fleet("ReplicaSet", name, image, replicas, labels, probe, spec)


def replicationcontroller(
    name: str, image: str, replicas: int, *, labels: Mapping[str, str], probe: bool = False, **spec: Any
) -> dict[str, Any]:
    """Return a ReplicationController; its own labels are those of its pods."""
    made = _fleet("ReplicationController", name, image, replicas, labels, probe, spec)
    made["apiVersion"], made["spec"]["selector"] = "v1", dict(labels)
    return made


def _fleet(
    kind: str, name: str, image: str, replicas: int, labels: Mapping[str, str], probe: bool, spec: Mapping[str, Any]
) -> dict[str, Any]:
    body = {
        "replicas": replicas,
        "selector": {"matchLabels": dict(labels)},
        "template": template(web_container(image, probe=probe), labels),
        **spec,
    }
    metadata = {"name": name, "labels": dict(labels)}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": body}


def saturated(world: World, target: str, replicas: int, selector: str = SELECTOR) -> list[Any]:
    """Wait until exactly so many pods exist and are ready, and the owner's status says so; return the pods."""

    def ready() -> bool:
        pods = world.pods(selector)
        alive = [pod for pod in pods if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]]
        return len(alive) == len(pods) == replicas

    world.until(ready, f"{replicas} ready pods of {target}")
    world.until(lambda: world.status(target).get("readyReplicas", 0) == replicas, f"{target} counts {replicas} ready")
    world.observed(target)
    return world.pods(selector)


def images(pods: Sequence[Any]) -> list[str]:
    """Return the first image of each pod."""
    return [str(pod["spec"]["containers"][0]["image"]) for pod in pods]


def condition(tree: Mapping[str, Any], kind: str) -> Any | None:
    """Return a condition in an object's status, None when there is none."""
    found = [one for one in (tree.get("status") or {}).get("conditions") or () if one["type"] == kind]
    return found[0] if found else None


def shows_status_to_all(world: World, target: str) -> None:
    """Write a condition with PUT and another with PATCH on `/status`; watches see both. The object bears `e2e`."""
    kind = target.partition("/")[0]
    since = world.listing(kind, "e2e=testing").resource_version
    assert world.get(target, "status")["metadata"]["uid"] == world.get(target)["metadata"]["uid"]
    told = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from e2e test"}

    def add(tree: Any) -> None:
        tree["status"].setdefault("conditions", []).append(told)

    with world.watching(kind, "e2e=testing", since=since) as log:
        answer = world.change(target, add, "status")
        assert (condition(answer, "StatusUpdate") or {}).items() >= told.items()
        world.until(lambda: any(condition(tree, "StatusUpdate") for tree in log.objects()), "the update is seen")

        body = {"status": {"conditions": [{"type": "StatusPatched", "status": "True"}]}}
        assert condition(world.patch(target, body, kind=PatchType.MERGE, subresource="status"), "StatusPatched")
        world.until(lambda: any(condition(tree, "StatusPatched") for tree in log.objects()), "the patch is seen")


def exceeds_its_quota(world: World, tree: Mapping[str, Any], target: str) -> None:
    """Create a workload of three replicas where two pods are allowed; a condition says so until two are wanted."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "condition-test"}}
    world.create({**quota, "spec": {"hard": {"pods": "2"}}})
    world.until(lambda: (world.status("quota/condition-test").get("hard") or {}).get("pods") == "2", "the quota counts")
    world.create(tree)
    found = world.until(lambda: condition(world.get(target), "ReplicaFailure"), "the failure is told")
    assert (found["status"], found["reason"]) == ("True", "FailedCreate")
    assert "exceeded quota: condition-test" in found["message"]
    assert any(event["reason"] == "FailedCreate" for event in world.events(target))

    world.change(target, lambda now: now["spec"].update(replicas=2))
    world.observed(target)
    world.until(lambda: condition(world.get(target), "ReplicaFailure") is None, "the condition is taken away")
    world.until(lambda: world.status(target).get("readyReplicas") == 2, "two pods are ready")


def works_as_scale_subresource(world: World, target: str) -> None:
    """Read the scale of a workload of one replica, write 2 unconditionally, patch 4; each is seen in its spec."""
    scale = world.get(target, "scale")
    assert (scale["apiVersion"], scale["kind"]) == ("autoscaling/v1", "Scale")
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (1, 1)
    assert scale["status"]["selector"]

    wanted = {**scale, "spec": {"replicas": 2}, "metadata": {**scale["metadata"]}}
    del wanted["metadata"]["resourceVersion"]
    assert world.put(target, wanted, "scale")["spec"]["replicas"] == 2
    assert world.get(target)["spec"]["replicas"] == 2

    body = {"spec": {"replicas": 4}}
    patched = world.patch(target, body, kind=PatchType.STRATEGIC, subresource="scale")
    assert (patched["kind"], patched["spec"]["replicas"]) == ("Scale", 4)
    assert world.get(target)["spec"]["replicas"] == 4
