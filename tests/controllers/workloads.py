"""Manifests the workload tests share, and a world to put them into."""

from typing import Any

from homeport.api.resources import find
from homeport.client.contract import Object
from homeport.server.settings import Settings
from homeport.testing.world import World

STATEFUL_SETS = find("StatefulSet", "apps")
DEPLOYMENTS = find("Deployment", "apps")
REPLICA_SETS = find("ReplicaSet", "apps")
REVISIONS = find("ControllerRevision", "apps")
PODS = find("Pod")
CLAIMS = find("PersistentVolumeClaim")
EVENTS = find("Event")


def world(seed: int = 0) -> World:
    return World(seed=seed, settings=Settings(disabled_admission=frozenset({"ServiceAccount"})))


def workload(kind: str, name: str, replicas: int, *, image: str = "a", **spec: Any) -> dict[str, Any]:
    body = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": name}},
        "template": template(name, image),
        **spec,
    }
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": body}


def template(name: str, image: str) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": image}]}}


CLAIM_TEMPLATE = {
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


async def pods(world: World) -> dict[str, Object]:
    listing = await world.client("test").list(PODS, "default")
    return {pod["metadata"]["name"]: pod for pod in listing.items}


def image_of(pod: Object) -> str:
    return str(pod["spec"]["containers"][0]["image"])
