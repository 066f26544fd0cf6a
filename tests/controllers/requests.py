"""One request to a simulated cluster at a time; a refusal is an answer like any other."""

import json
from collections.abc import Mapping
from typing import Any

from homeport.api.exchange import Request, User
from homeport.client.inprocess import InProcessTransport
from homeport.client.manifests import resource_of
from homeport.client.rest import collection_path, object_path
from homeport.clock import rfc3339
from homeport.testing.cluster import SimulatedCluster
from homeport.testing.simulation import ADMIN

__all__ = ["condition", "create", "delete", "evict", "pod", "put", "reference", "send", "stamp", "status"]

Tree = dict[str, Any]


def send(
    homeport: SimulatedCluster, method: str, path: str, body: Any = None, *, query: Mapping[str, str] | None = None,
    kind: str = "application/json", user: User = ADMIN,
) -> tuple[int, Tree]:  # fmt: skip
    """Send a request as a user; return the code and the document."""
    transport = InProcessTransport(homeport.simulation.server.handle, user)
    headers = {"accept": "application/json", "user-agent": "test", "content-type": kind}
    encoded = b"" if body is None else json.dumps(body).encode()
    request = Request(method, path, tuple((query or {}).items()), headers, encoded)
    response = homeport.run(transport.send(request))
    return response.status, json.loads(response.body)


def create(homeport: SimulatedCluster, tree: Tree, namespace: str = "default") -> tuple[int, Tree]:
    resource = resource_of(tree["kind"])
    return send(homeport, "POST", collection_path(resource, namespace if resource.namespaced else None), tree)


def put(homeport: SimulatedCluster, tree: Tree, subresource: str = "") -> tuple[int, Tree]:
    metadata = tree["metadata"]
    path = object_path(resource_of(tree["kind"]), metadata.get("namespace"), metadata["name"], subresource)
    return send(homeport, "PUT", path, tree)


def status(homeport: SimulatedCluster, target: str, change: Tree) -> tuple[int, Tree]:
    """Merge a patch into an object's status."""
    path = object_path(*SimulatedCluster._place(target), "status")
    return send(homeport, "PATCH", path, {"status": change}, kind="application/merge-patch+json")


def delete(homeport: SimulatedCluster, target: str, **options: Any) -> tuple[int, Tree]:
    """DELETE with options such as `propagationPolicy`."""
    body = {"kind": "DeleteOptions", "apiVersion": "v1", **options} if options else None
    return send(homeport, "DELETE", object_path(*SimulatedCluster._place(target)), body)


def evict(homeport: SimulatedCluster, name: str, *, body: str = "", **query: str) -> tuple[int, Tree]:
    """POST an eviction of a pod; `body` is the name in it when that is another one."""
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": body or name}}
    path = object_path(resource_of("pod"), "default", name, "eviction")
    return send(homeport, "POST", path, eviction, query=query)


def pod(name: str, owner: Tree | None = None, **spec: Any) -> Tree:
    """Return a pod labelled `app: web`."""
    metadata = {"name": name, "labels": {"app": "web"}, **({"ownerReferences": [owner]} if owner else {})}
    body = {"containers": [{"name": "c", "image": "a"}], "terminationGracePeriodSeconds": 0, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body}


def reference(tree: Tree, *, blocks: bool = True, controller: bool = False) -> Tree:
    """Return the reference a dependent of an object carries."""
    base = {"apiVersion": tree["apiVersion"], "kind": tree["kind"], "name": tree["metadata"]["name"]}
    return {**base, "uid": tree["metadata"]["uid"], "blockOwnerDeletion": blocks, "controller": controller}


def stamp(homeport: SimulatedCluster) -> str:
    """Return the cluster's time as its objects write it."""

    async def now() -> float:
        return homeport.simulation.clock.now()

    return rfc3339(homeport.run(now()))


def condition(tree: Tree, kind: str) -> Tree:
    """Return an object's condition of a kind; an empty one when it has none."""
    found: list[Tree] = (tree.get("status") or {}).get("conditions") or []
    return next((one for one in found if one["type"] == kind), {})
