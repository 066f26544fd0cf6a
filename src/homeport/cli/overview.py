"""What a cluster runs, for people: pods with address and name, claims, Services with what stands behind them."""

from collections.abc import Iterable, Mapping
from typing import Any

import click

from homeport.api.dns_names import pod_dns_name, service_dns_name
from homeport.api.resources import find
from homeport.api.tables.pods import POD
from homeport.cli.output import print_table

__all__ = ["overview", "print_overview"]


async def overview(client: Any, domain: str, namespaces: Iterable[str]) -> dict[str, Any]:
    """Return pods, claims and Services of some namespaces, as plain JSON."""
    pods: list[dict[str, Any]] = []
    claims: list[dict[str, Any]] = []
    services: list[dict[str, Any]] = []
    for namespace in sorted(namespaces):
        slices = (await client.list(find("EndpointSlice", "discovery.k8s.io"), namespace)).items
        found = (await client.list(find("Service"), namespace)).items
        headless = {one["metadata"]["name"] for one in found if one["spec"].get("clusterIP") == "None"}
        services += (_service(one, slices, domain) for one in found)
        pods += (_pod(one, headless, domain) for one in (await client.list(find("Pod"), namespace)).items)
        claims += (_claim(one) for one in (await client.list(find("PersistentVolumeClaim"), namespace)).items)
    return {"pods": pods, "claims": claims, "services": services}


def _pod(pod: Mapping[str, Any], headless: set[str], domain: str) -> dict[str, Any]:
    status = pod.get("status", {})
    _, ready, word, *_ = POD.cells(pod, 0.0)
    named = pod_dns_name(pod, domain) if pod["spec"].get("subdomain") in headless else ""
    return {
        "namespace": pod["metadata"]["namespace"],
        "name": pod["metadata"]["name"],
        "ready": ready,
        "phase": status.get("phase", ""),
        "status": word,
        "address": status.get("podIP", ""),
        "dnsName": named,
        "claims": [
            volume["persistentVolumeClaim"]["claimName"]
            for volume in pod["spec"].get("volumes") or ()
            if "persistentVolumeClaim" in volume
        ],
    }


def _claim(claim: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "namespace": claim["metadata"]["namespace"],
        "name": claim["metadata"]["name"],
        "phase": claim.get("status", {}).get("phase", ""),
        "volume": claim["spec"].get("volumeName", ""),
        "capacity": (claim.get("status", {}).get("capacity") or {}).get("storage", ""),
    }


def _service(service: Mapping[str, Any], slices: Iterable[Mapping[str, Any]], domain: str) -> dict[str, Any]:
    metadata, spec = service["metadata"], service["spec"]
    ready = {
        (endpoint.get("targetRef") or {}).get("uid") or address
        for part in slices
        if (part["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == metadata["name"]
        for endpoint in part.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False
        for address in endpoint.get("addresses") or ()
    }
    kind = "Headless" if spec.get("clusterIP") == "None" else spec.get("type", "ClusterIP")
    return {
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "type": kind,
        "address": spec.get("externalName") or spec.get("clusterIP", ""),
        "ports": [f"{port['port']}/{port.get('protocol', 'TCP')}" for port in spec.get("ports") or ()],
        "dnsName": service_dns_name(metadata["namespace"], metadata["name"], domain),
        "readyEndpoints": len(ready),
    }


def print_overview(seen: Mapping[str, Any]) -> None:
    """Print the tables, each with a heading row; empty ones are left out."""
    tables = (
        (
            ("POD", "READY", "STATUS", "ADDRESS", "DNS NAME", "CLAIMS"),
            [
                (p["name"], p["ready"], p["status"], p["address"], p["dnsName"], ",".join(p["claims"]))
                for p in seen["pods"]
            ],
        ),
        (
            ("CLAIM", "STATUS", "VOLUME", "CAPACITY"),
            [(c["name"], c["phase"], c["volume"], c["capacity"]) for c in seen["claims"]],
        ),
        (
            ("SERVICE", "TYPE", "ADDRESS", "PORTS", "DNS NAME", "READY ENDPOINTS"),
            [
                (s["name"], s["type"], s["address"], ",".join(s["ports"]), s["dnsName"], _count(s))
                for s in seen["services"]
            ],
        ),
    )
    first = True
    for headers, rows in tables:
        if not rows:
            continue
        if not first:
            click.echo()
        first = False
        print_table(headers, [[cell or "-" for cell in row] for row in rows])


def _count(service: Mapping[str, Any]) -> str:
    return "" if service["type"] == "ExternalName" else str(service["readyEndpoints"])
