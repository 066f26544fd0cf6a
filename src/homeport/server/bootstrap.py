"""What is there from the start: namespaces, and the Service through which pods find the API (api-machinery 24)."""

from typing import Any, Final

from homeport.api import decode as decoding
from homeport.api.defaults import apply_defaults
from homeport.api.exchange import User
from homeport.api.resources import find
from homeport.errors import AlreadyExists
from homeport.server.default_roles import default_roles
from homeport.server.objects import Codec, Stored, Tree
from homeport.server.rbac import GROUP
from homeport.server.services import Services
from homeport.server.writes import Writer, fresh

__all__ = ["Bootstrap"]

_NAMESPACES: Final = ("default", "kube-system", "kube-public", "kube-node-lease")
_PRIORITIES: Final = (
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
)
_SYSTEM: Final = User("system:apiserver", groups=("system:masters", "system:authenticated"))


class Bootstrap:
    """Creates what is missing; brings the published address up to date. Safe to run at every start."""

    def __init__(self, services: Services, writer: Writer) -> None:
        self._services, self._writer = services, writer

    async def run(self) -> None:
        """Return once everything is there."""
        for name in _NAMESPACES:
            await self._ensure("Namespace", "", None, {"metadata": {"name": name}})
        for name, value, description in _PRIORITIES:
            tree = {"metadata": {"name": name}, "value": value, "description": description}
            await self._ensure("PriorityClass", "scheduling.k8s.io", None, tree)
        if self._services.settings.authorization == "RBAC":
            for kind, tree in default_roles():
                await self._ensure(kind, GROUP, None, tree)
        first = str(next(self._services.settings.service_cidr.hosts()))
        await self._ensure("Service", "", "default", _service(first))
        host, port = self._services.settings.advertise
        await self._publish("Endpoints", "", _endpoints(host, port), "subsets")
        await self._publish("EndpointSlice", "discovery.k8s.io", _slice(host, port), "endpoints", "ports")

    async def _ensure(self, kind: str, group: str, namespace: str | None, tree: Tree) -> None:
        codec = self._services.codec(find(kind, group))
        if self._services.storage.find(codec, namespace, tree["metadata"]["name"]) is not None:
            return
        wanted = decoding.decode(codec.resource.gvk, tree).tree
        apply_defaults(codec.resource.gvk, wanted)
        try:
            await self._writer.create(codec, namespace, wanted, _SYSTEM, [])
        except AlreadyExists:
            return

    async def _publish(self, kind: str, group: str, tree: Tree, *fields: str) -> None:
        """Create an object, or bring some of its fields to what they should be."""
        codec: Codec = self._services.codec(find(kind, group))
        await self._ensure(kind, group, "default", fresh(tree))

        def build(old: Stored) -> Tree:
            wanted: dict[str, Any] = fresh(codec.tree(old))
            wanted.update({field: tree[field] for field in fields})
            decoded = decoding.decode(codec.resource.gvk, wanted).tree
            apply_defaults(codec.resource.gvk, decoded)
            return decoded

        await self._writer.update(codec, "default", "kubernetes", build, _SYSTEM, [])


def _service(address: str) -> Tree:
    return {
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "clusterIP": address,
            "clusterIPs": [address],
            "type": "ClusterIP",
            "sessionAffinity": "None",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
    }


def _endpoints(host: str, port: int) -> Tree:
    return {
        "metadata": {"name": "kubernetes", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": host}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}],
    }


def _slice(host: str, port: int) -> Tree:
    return {
        "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [host], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }
