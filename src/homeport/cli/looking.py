"""What explanations are made from: a namespace's objects, as they are or as they were."""

import asyncio
from collections.abc import Container, Sequence
from typing import Any, Final

from homeport.cli.cluster import fail
from homeport.cli.moments import clock_time, length

__all__ = ["Look", "elsewhere", "owner_of", "refuse_forgotten", "refuse_unknown"]

_KINDS: Final = (
    ("Pod", ""),
    ("Service", ""),
    ("PersistentVolumeClaim", ""),
    ("Event", ""),
    ("HorizontalPodAutoscaler", "autoscaling"),
    ("Job", "batch"),
    ("PodDisruptionBudget", "policy"),
    ("StatefulSet", "apps"),
    ("Deployment", "apps"),
    ("ReplicaSet", "apps"),
    ("DaemonSet", "apps"),
    ("ReplicationController", ""),
    ("EndpointSlice", "discovery.k8s.io"),
)
"""What explanations are made from, as (kind, group). The server's history has all but Events, which have times."""


_ALL: Final = frozenset(kind for kind, _ in _KINDS)


class Look:
    """Looks at namespaces as they are, or as they were at a moment, epoch seconds."""

    def __init__(self, client: Any, domain: str, moment: float | None) -> None:
        self._client, self._domain, self._moment = client, domain, moment

    async def snapshot(self, namespace: str, kinds: Container[str] = _ALL) -> Any:
        """Return a `Snapshot` of some kinds. Ends the command where nobody remembers that far back."""
        from homeport.explain.history import Change, rewound

        seen = await self._present(namespace, kinds)
        if self._moment is None:
            return seen
        told = await self._client.history(namespace, self._moment, first=True)  # after `seen`: so no change is missed
        refuse_forgotten(told, self._moment)
        return rewound(seen, map(Change.read, told["changes"]), self._moment)

    async def _present(self, namespace: str, kinds: Container[str]) -> Any:
        from homeport.api.resources import find
        from homeport.errors import NotFound
        from homeport.explain.model import Snapshot

        try:
            await self._client.get(find("Namespace"), None, namespace)
        except NotFound:
            return Snapshot(namespace, self._domain, {}, exists=False)
        wanted = [(kind, find(kind, group)) for kind, group in _KINDS if kind in kinds]
        found = await asyncio.gather(*(self._client.list(resource, namespace) for _, resource in wanted))
        objects = {
            kind: tuple({"kind": kind, **item} for item in listing.items)
            for (kind, _), listing in zip(wanted, found, strict=True)
        }
        return Snapshot(namespace, self._domain, objects)


def refuse_forgotten(told: Any, moment: float) -> None:
    """End the command when a moment is older than what the server remembers, and name the oldest one it does."""
    from homeport.clock import parse_time

    known, now = parse_time(told["knownSince"]), parse_time(told["now"])
    if moment < known:
        raise fail(
            f"nobody remembers how it was at {clock_time(moment)}, {length(now - moment)} ago: changes are known since"
            f" {clock_time(known)}, {length(now - known)} ago; ask for a moment from then on"
        )


async def refuse_unknown(client: Any, namespace: str) -> None:
    """End the command when there is no such namespace, and name the one probably meant."""
    from homeport.api.resources import find
    from homeport.errors import NotFound
    from homeport.explain.model import near

    try:
        await client.get(find("Namespace"), None, namespace)
    except NotFound:
        there = (await client.list(find("Namespace"))).items
        raise fail(f"there is no namespace {namespace!r}{near(namespace, there)}") from None


async def elsewhere(client: Any, resource: Any, name: str) -> list[Any]:
    """Return, as evidence, the other namespaces that have an object of a kind and name."""
    from homeport.explain.model import Evidence

    items = (await client.list(resource, None, field_selector=f"metadata.name={name}")).items
    return [
        Evidence(f"Namespace {where}", f"has a {resource.kind} {name}: give -n {where}")
        for where in sorted(item["metadata"]["namespace"] for item in items)
    ]


async def owner_of(client: Any, address: Any, port: str, nodes: Sequence[Any]) -> tuple[str, str, str]:
    """Return kind, namespace and name of the Service or pod that has an address; the kind is empty for nobody's.

    nodes  the node's addresses: theirs is the Service that has `port` as a node port
    """
    from homeport.api.resources import find

    for service in (await client.list(find("Service"))).items:
        if _answers(service, address, port, nodes):
            return "Service", service["metadata"]["namespace"], service["metadata"]["name"]
    for pod in (await client.list(find("Pod"))).items:
        if any(one["ip"] == str(address) for one in (pod.get("status") or {}).get("podIPs") or ()):
            return "Pod", pod["metadata"]["namespace"], pod["metadata"]["name"]
    return "", "", ""


def _answers(service: Any, address: Any, port: str, nodes: Sequence[Any]) -> bool:
    spec = service["spec"]
    if address in nodes:
        return any(str(one.get("nodePort")) == port for one in spec.get("ports") or ())
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    own = (*(spec.get("clusterIPs") or ()), *(spec.get("externalIPs") or ()), *(one.get("ip") for one in ingress))
    return str(address) in own
