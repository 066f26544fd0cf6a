"""What a cluster runs, for people: pods with address and name, claims, Services with what stands behind them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import click

from homeport.api.dns_names import pod_dns_name, service_dns_name
from homeport.api.resources import find
from homeport.api.tables.pods import POD
from homeport.cli.output import fitting, screen_columns, table_text

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
        "addresses": [one["ip"] for one in status.get("podIPs") or ()],
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
        "addresses": [spec["externalName"]] if spec.get("externalName") else spec.get("clusterIPs") or [],
        "ports": [f"{port['port']}/{port.get('protocol', 'TCP')}" for port in spec.get("ports") or ()],
        "dnsName": service_dns_name(metadata["namespace"], metadata["name"], domain),
        "readyEndpoints": len(ready),
    }


def print_overview(seen: Mapping[str, Any]) -> None:
    """Print the tables, each with a heading row; empty ones are left out, and on a narrow screen what can be spared."""
    columns = screen_columns()
    found = (_pods(seen["pods"]), _claims(seen["claims"]), _services(seen["services"]))
    shown = [fitting(_texts(tables, rows), columns) for rows, tables in found if rows]
    if shown:
        click.echo("\n\n".join(shown))


_Table: TypeAlias = tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...]
"""Headings, and what makes a cell of a row."""


def _texts(tables: Sequence[_Table], rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a table in its forms, the widest first. The namespace is told where there are several."""
    several = len({row["namespace"] for row in rows}) > 1
    where: _Table = (("NAMESPACE", lambda row: row["namespace"]),) if several else ()
    for table in tables:
        headers, makers = zip(*where, *table, strict=True)
        yield table_text(headers, [[maker(row) or "-" for maker in makers] for row in rows])


def _pods(rows: Sequence[Mapping[str, Any]]) -> tuple[Sequence[Mapping[str, Any]], list[_Table]]:
    first: _Table = (
        ("POD", lambda p: p["name"]),
        ("READY", lambda p: p["ready"]),
        ("STATUS", lambda p: p["status"]),
    )
    claims: _Table = (("CLAIMS", lambda p: ",".join(p["claims"])),)
    slim: _Table = (*first, ("ADDRESS", _lines), ("DNS NAME", _without_domain))
    return rows, [
        (*first, ("ADDRESS", _comma), ("DNS NAME", lambda p: p["dnsName"]), *claims),
        (*slim, ("CLAIMS", lambda p: "\n".join(p["claims"]))),
        slim,
        (*first, ("ADDRESS", _lines)),
    ]


def _claims(rows: Sequence[Mapping[str, Any]]) -> tuple[Sequence[Mapping[str, Any]], list[_Table]]:
    first: _Table = (("CLAIM", lambda c: c["name"]), ("STATUS", lambda c: c["phase"]))
    last: _Table = (("CAPACITY", lambda c: c["capacity"]),)
    return rows, [
        (*first, ("VOLUME", lambda c: c["volume"]), *last),
        (*first, ("VOLUME", lambda c: _short(c["volume"])), *last),
    ]


def _services(rows: Sequence[Mapping[str, Any]]) -> tuple[Sequence[Mapping[str, Any]], list[_Table]]:
    first: _Table = (("SERVICE", lambda s: s["name"]), ("TYPE", lambda s: s["type"]))
    wide: _Table = (("ADDRESS", _comma), ("PORTS", lambda s: ",".join(s["ports"])))
    slim: _Table = (("ADDRESS", _lines), ("PORTS", lambda s: "\n".join(s["ports"])))
    ready: _Table = (("READY", _count),)
    return rows, [
        (*first, *wide, ("DNS NAME", lambda s: s["dnsName"]), ("READY ENDPOINTS", _count)),
        (*first, *slim, ("DNS NAME", _without_domain), *ready),
        (*first, *slim, *ready),
    ]


def _comma(row: Mapping[str, Any]) -> str:
    return ",".join(row["addresses"])


def _lines(row: Mapping[str, Any]) -> str:
    return "\n".join(row["addresses"])


def _without_domain(row: Mapping[str, Any]) -> str:
    """Return the name as far as every pod's resolver needs it."""
    head, separator, _ = row["dnsName"].rpartition(".svc.")
    return f"{head}.svc" if separator else ""


def _short(volume: str) -> str:
    return volume if len(volume) <= 16 else f"{volume[:15]}…"


def _count(service: Mapping[str, Any]) -> str:
    return "" if service["type"] == "ExternalName" else str(service["readyEndpoints"])
