"""Objects every Homeport cluster has besides those of the API server: the DNS Service and a default storage class."""

from typing import Any, Final

from homeport.api.resources import Resource, find
from homeport.client.contract import Client, Object, PatchType
from homeport.clock import rfc3339
from homeport.controllers.volumes.provisioner import class_body
from homeport.engine.settings import ClusterSettings
from homeport.errors import NotFound

__all__ = ["bootstrap", "mark_node_lost"]

DNS_PORTS: Final = (("dns", "UDP", 53), ("dns-tcp", "TCP", 53))


async def bootstrap(client: Client, settings: ClusterSettings) -> None:
    """Create what is missing; safe at every start, as nobody else writes these."""
    objects = [(find("Service"), _dns_service(settings))]
    objects += [(find("EndpointSlice", "discovery.k8s.io"), one) for one in _dns_endpoints(settings)]
    if settings.runs("controllers"):
        objects.append((find("StorageClass", "storage.k8s.io"), class_body()))
    for resource, body in objects:
        metadata = body["metadata"]
        try:
            await client.get(resource, metadata.get("namespace"), metadata["name"])
        except NotFound:
            await client.create(resource, body)
    await _reach_name_server(client, settings)


async def _reach_name_server(client: Client, settings: ClusterSettings) -> None:
    """Give the DNS Service the address of a family the cluster has got since."""
    addresses = [str(ranges.dns) for ranges in settings.ranges]
    service = await client.get(find("Service"), "kube-system", "kube-dns")
    if len(addresses) > len(service["spec"].get("clusterIPs") or ()):
        spec = {"ipFamilyPolicy": "PreferDualStack", "clusterIPs": addresses, "ipFamilies": list(settings.families)}
        await client.patch(find("Service"), "kube-system", "kube-dns", {"spec": spec})


def _metadata(name: str, **labels: str) -> dict[str, Any]:
    return {"name": name, "namespace": "kube-system", "labels": labels}


def _dns_service(settings: ClusterSettings) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata("kube-dns", **{"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}),
        "spec": {
            "clusterIP": str(settings.ranges[0].dns),
            "clusterIPs": [str(ranges.dns) for ranges in settings.ranges],
            "ipFamilyPolicy": "PreferDualStack" if len(settings.ranges) > 1 else "SingleStack",
            "ports": [
                {"name": name, "protocol": protocol, "port": port, "targetPort": port}
                for name, protocol, port in DNS_PORTS
            ],
        },
    }


def _dns_endpoints(settings: ClusterSettings) -> list[Object]:
    """One slice per family; the default one's has the Service's own name."""
    return [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": _metadata(name, **{"kubernetes.io/service-name": "kube-dns"}),
            "addressType": f"IPv{ranges.version}",
            "endpoints": [{"addresses": [str(ranges.dns)], "conditions": {"ready": True}}],
            "ports": [{"name": port[0], "protocol": port[1], "port": port[2]} for port in DNS_PORTS],
        }
        for name, ranges in zip(("kube-dns", "kube-dns-second"), settings.ranges, strict=False)
    ]


async def mark_node_lost(client: Client, node_name: str, now: float) -> None:
    """Say that the node and its pods are not ready: nothing of an earlier life of the cluster runs any more.

    Until the node reports again nobody may be sent to pods that are gone, as upstream's node controller does for a
    node that stopped reporting (workloads 15).
    """
    at = rfc3339(now)
    unknown = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "lastTransitionTime": at}
    unknown["message"] = "Kubelet stopped posting node status."
    try:
        await _patch_condition(client, find("Node"), None, node_name, unknown)
    except NotFound:
        return
    not_ready = {"type": "Ready", "status": "False", "reason": "NodeLost", "lastTransitionTime": at}
    pods = await client.list(find("Pod"), field_selector=f"spec.nodeName={node_name}")
    for pod in pods.items:
        if any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions") or ()):
            metadata = pod["metadata"]
            await _patch_condition(client, find("Pod"), metadata["namespace"], metadata["name"], not_ready)


async def _patch_condition(
    client: Client, resource: Resource, namespace: str | None, name: str, condition: Object
) -> None:
    patch = {"status": {"conditions": [condition]}}
    await client.patch(resource, namespace, name, patch, kind=PatchType.STRATEGIC, subresource="status")
