"""Objects every Homeport cluster has besides those of the API server: the DNS Service and a default storage class."""

from typing import Any, Final

from homeport.api.resources import find
from homeport.client.contract import Client, Object
from homeport.engine.settings import ClusterSettings
from homeport.errors import AlreadyExists

__all__ = ["bootstrap"]

DNS_PORTS: Final = (("dns", "UDP", 53), ("dns-tcp", "TCP", 53))


async def bootstrap(client: Client, settings: ClusterSettings) -> None:
    """Create what is missing; safe at every start."""
    objects = [(find("Service"), _dns_service(settings))]
    objects.append((find("EndpointSlice", "discovery.k8s.io"), _dns_endpoints(settings)))
    for resource, body in objects:
        try:
            await client.create(resource, body)
        except AlreadyExists:
            continue


def _metadata(name: str, **labels: str) -> dict[str, Any]:
    return {"name": name, "namespace": "kube-system", "labels": labels}


def _dns_service(settings: ClusterSettings) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata("kube-dns", **{"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}),
        "spec": {
            "clusterIP": settings.dns_address,
            "ports": [
                {"name": name, "protocol": protocol, "port": port, "targetPort": port}
                for name, protocol, port in DNS_PORTS
            ],
        },
    }


def _dns_endpoints(settings: ClusterSettings) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": _metadata("kube-dns", **{"kubernetes.io/service-name": "kube-dns"}),
        "addressType": "IPv4",
        "endpoints": [{"addresses": [settings.dns_address], "conditions": {"ready": True}}],
        "ports": [{"name": name, "protocol": protocol, "port": port} for name, protocol, port in DNS_PORTS],
    }
