"""A second opinion on what a name means: records written out one by one, looked up by walking them all.

It shares no code with the server but the reading of API objects, and follows the rules of the DNS schema (services-dns
13 and 14) by the letter rather than by speed.
"""

from collections.abc import Iterable, Iterator
from typing import Any

ZONE = "cluster.local."
Row = tuple[str, str, str]
"""Owner, type, data."""


def rows(trees: Iterable[dict[str, Any]]) -> set[Row]:
    """Return every record of the forward zone that has a name of its own."""
    return set(_rows(list(trees)))


def _rows(trees: list[dict[str, Any]]) -> Iterator[Row]:
    namespaces = {tree["metadata"]["name"] for tree in trees if tree["kind"] == "Namespace"}
    for tree in trees:
        if tree["kind"] != "Service" or tree["metadata"]["namespace"] not in namespaces:
            continue
        space, name = tree["metadata"]["namespace"], tree["metadata"]["name"]
        base = f"{name}.{space}.svc.{ZONE}"
        spec = tree["spec"]
        if spec.get("type") == "ExternalName":
            yield base, "CNAME", spec["externalName"].rstrip(".") + "."
            continue
        headless = spec["clusterIPs"] == ["None"]
        for part in trees:
            if part["kind"] == "EndpointSlice" and _owner(part) == (space, name):
                yield from _endpoints(base, part, headless)
        if not headless:
            for address in spec["clusterIPs"]:
                kind = "AAAA" if ":" in address else "A"
                yield base, kind, address
                for port in spec.get("ports", []):
                    for prefix in _prefixes(port):
                        yield prefix + base, kind, address
                        yield prefix + base, "SRV", f"{port['port']} {base}"


def _owner(part: dict[str, Any]) -> tuple[str, str]:
    return part["metadata"]["namespace"], part["metadata"].get("labels", {}).get("kubernetes.io/service-name", "")


def _endpoints(base: str, part: dict[str, Any], headless: bool) -> Iterator[Row]:
    for endpoint in part["endpoints"]:
        if endpoint.get("conditions", {}).get("ready") is False:
            continue
        for address in endpoint["addresses"]:
            label = endpoint.get("hostname") or address.replace(".", "-").replace(":", "-")
            target = f"{label}.{base}"
            kind = "AAAA" if ":" in address else "A"
            yield target, kind, address
            if headless:
                yield base, kind, address
            for port in part["ports"]:
                yield target, "SRV", f"{port['port']} {target}"
                for prefix in _prefixes(port) if headless else ():
                    yield prefix + base, kind, address
                    yield prefix + base, "SRV", f"{port['port']} {target}"


def _prefixes(port: dict[str, Any]) -> Iterator[str]:
    """Give what may stand before a Service's name to choose this port, nothing included."""
    yield ""
    if port.get("name"):
        yield f"_{port['name']}._{port['protocol'].lower()}."


def meaning(records: set[Row], trees: list[dict[str, Any]], name: str, kind: str) -> tuple[str, frozenset[str]]:
    """Return the response code and the data of the answer to a question under the zone, aliases not followed."""
    here = {(row_kind, data) for owner, row_kind, data in records if owner.lower() == name.lower()}
    found = frozenset(data for row_kind, data in here if row_kind == kind)
    if found:
        return "NOERROR", found
    if here:
        return "NOERROR", frozenset()
    labels = name.lower().removesuffix(ZONE).rstrip(".").split(".")
    namespaces = {tree["metadata"]["name"] for tree in trees if tree["kind"] == "Namespace"}
    known = labels in ([""], ["svc"], ["pod"]) or (
        len(labels) == 2 and labels[1] in ("svc", "pod") and labels[0] in namespaces
    )
    return "NOERROR" if known else "NXDOMAIN", frozenset()
