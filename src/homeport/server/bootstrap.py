"""What is there from the start: namespaces, and the Service through which pods find the API (api-machinery 24)."""

import logging
from ipaddress import ip_address
from typing import Any, Final

from homeport import ids
from homeport.api import decode as decoding
from homeport.api.defaults import apply_defaults
from homeport.api.exchange import User
from homeport.api.resources import find
from homeport.clock import rfc3339
from homeport.errors import AlreadyExists
from homeport.server.default_roles import default_roles
from homeport.server.objects import Codec, Stored, Tree
from homeport.server.rbac import GROUP
from homeport.server.services import Services
from homeport.server.writes import Writer, fresh

__all__ = ["NETWORKING", "Bootstrap"]

_log = logging.getLogger(__name__)

NETWORKING: Final = "networking.k8s.io"

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
        await self._ensure_ranges()
        await self.publish()

    async def publish(self) -> None:
        """Say where the API is: a Service that is there stays as it is, its endpoints are brought up to date."""
        await self._ensure("Service", "", "default", _service(self._services.settings.kubernetes_address))
        host, port = self._services.settings.advertise
        await self._publish("Endpoints", "", _endpoints(host, port), "subsets")
        await self._publish("EndpointSlice", "discovery.k8s.io", _slice(host, port), "endpoints", "ports")

    async def _ensure_ranges(self) -> None:
        """Publish the ranges the server was told as the default ServiceCIDR; one that differs stays (services-dns 7).

        A cluster that was of one family and is now of two gets the second range.
        """
        cidrs = [str(network) for network in self._services.settings.service_cidrs]
        await self._ensure(
            "ServiceCIDR", NETWORKING, None, {"metadata": {"name": "kubernetes"}, "spec": {"cidrs": cidrs}}
        )
        codec = self._services.codec(find("ServiceCIDR", NETWORKING))
        tree = self._services.storage.get(codec, None, "kubernetes").tree
        if tree["spec"]["cidrs"] == cidrs[:1] != cidrs:
            await self._change(codec, None, {"spec": {"cidrs": cidrs}})
            tree = self._services.storage.get(codec, None, "kubernetes").tree
        if "deletionTimestamp" in tree["metadata"]:
            return
        if tree["spec"]["cidrs"] != cidrs:
            await self._warn_of_ranges(tree, cidrs)
        elif not (tree.get("status") or {}).get("conditions"):
            ready = {
                "type": "Ready",
                "status": "True",
                "reason": "",
                "message": "Kubernetes default Service CIDR is ready",
                "lastTransitionTime": rfc3339(self._services.clock.now()),
            }
            await self._change(codec, None, {"status": {"conditions": [ready]}}, "status")

    async def _warn_of_ranges(self, tree: Tree, cidrs: list[str]) -> None:
        stored, told = (f"[{' '.join(each)}]" for each in (tree["spec"]["cidrs"], cidrs))
        message = f"The default ServiceCIDR {stored} does not match the controller flag configurations {told}"
        _log.warning("%s", message)
        now = rfc3339(self._services.clock.now())
        about = {"apiVersion": tree["apiVersion"], "kind": tree["kind"], "name": tree["metadata"]["name"]}
        event = {
            "metadata": {"name": f"kubernetes.{ids.uid(self._services.rng).replace('-', '')[:16]}"},
            "involvedObject": {**about, "uid": tree["metadata"]["uid"]},
            "reason": "KubernetesDefaultServiceCIDRInconsistent",
            "message": message,
            "type": "Warning",
            "source": {"component": "default-servicecidr-controller"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        await self._ensure("Event", "", "default", event)

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
        await self._change(codec, "default", {field: tree[field] for field in fields})

    async def _change(self, codec: Codec, namespace: str | None, fields: Tree, subresource: str = "") -> None:
        """Replace fields of the object called `kubernetes`."""

        def build(old: Stored) -> Tree:
            wanted: dict[str, Any] = {**fresh(codec.tree(old)), **fresh(fields)}
            decoded = decoding.decode(codec.resource.gvk, wanted).tree
            apply_defaults(codec.resource.gvk, decoded)
            return decoded

        await self._writer.update(codec, namespace, "kubernetes", build, _SYSTEM, [], subresource=subresource)


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
    family = f"IPv{ip_address(host).version}"
    return {
        "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": family,
        "endpoints": [{"addresses": [host], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }
