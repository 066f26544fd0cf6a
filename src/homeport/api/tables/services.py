"""Rows of Services, their endpoints and their addresses (api-machinery 15.5)."""

from collections.abc import Iterator
from typing import Final

from homeport.api.tables.cells import AGE, NAME, NONE, Cells, Printer, Tree, age, labels_text, narrow, some, wide

__all__ = ["ENDPOINTS", "ENDPOINT_SLICE", "IP_ADDRESS", "SERVICE", "SERVICE_CIDR"]


def _service(tree: Tree, now: float) -> Cells:
    spec = tree["spec"]
    listed = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    return [
        tree["metadata"].get("name", ""),
        spec.get("type", ""),
        listed[0] if listed else NONE,
        _external(tree),
        ",".join(_port(port) for port in spec.get("ports", ())) or NONE,
        age(tree, now),
        labels_text(spec.get("selector")),
    ]


def _port(port: Tree) -> str:
    node = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port', 0)}{node}/{port.get('protocol', '')}"


def _external(tree: Tree) -> str:
    spec = tree["spec"]
    addresses = list(spec.get("externalIPs", ()))
    match spec.get("type"):
        case "ClusterIP" | "NodePort":
            return ",".join(addresses) or NONE
        case "LoadBalancer":
            ingresses = tree.get("status", {}).get("loadBalancer", {}).get("ingress", ())
            given = {ingress.get("ip") or ingress.get("hostname", "") for ingress in ingresses} - {""}
            return ",".join([*sorted(given), *addresses]) or "<pending>"
        case "ExternalName":
            return str(spec.get("externalName", ""))
    return "<unknown>"


def _endpoints(tree: Tree, now: float) -> Cells:
    return [tree["metadata"].get("name", ""), some(_pairs(tree), NONE), age(tree, now)]


def _pairs(tree: Tree) -> Iterator[str]:
    for subset in tree.get("subsets", ()):
        ports = subset.get("ports", ())
        for address in subset.get("addresses", ()) if not ports else ():
            yield address.get("ip", "")
        for port in ports:
            for address in subset.get("addresses", ()):
                ip = address.get("ip", "")
                yield f"[{ip}]:{port.get('port')}" if ":" in ip else f"{ip}:{port.get('port')}"


def _endpoint_slice(tree: Tree, now: float) -> Cells:
    ports = (_slice_port(port) for port in tree.get("ports") or ())
    addresses = (address for endpoint in tree.get("endpoints") or () for address in endpoint.get("addresses") or ())
    return [
        tree["metadata"].get("name", ""),
        tree.get("addressType", ""),
        some(ports, "<unset>"),
        some(addresses, "<unset>"),
        age(tree, now),
    ]


def _slice_port(port: Tree) -> str:
    if port.get("port") is not None:
        return str(port["port"])
    return port.get("name") or "*"


def _service_cidr(tree: Tree, now: float) -> Cells:
    return [tree["metadata"].get("name", ""), ",".join(tree["spec"].get("cidrs", ())), age(tree, now)]


def _ip_address(tree: Tree, now: float) -> Cells:
    return [tree["metadata"].get("name", ""), _parent(tree["spec"].get("parentRef")), age(tree, now)]


def _parent(reference: Tree | None) -> str:
    if reference is None:
        return NONE
    group = reference.get("group")
    resource = f"{reference.get('resource', '')}.{group}" if group else reference.get("resource", "")
    parts = [resource.lower(), reference.get("namespace", ""), reference.get("name", "")]
    return "/".join(part for part in parts if part)


SERVICE: Final = Printer(
    (
        NAME,
        narrow("Type"),
        narrow("Cluster-IP"),
        narrow("External-IP"),
        narrow("Port(s)"),
        AGE,
        wide("Selector"),
    ),
    _service,
)
ENDPOINTS: Final = Printer((NAME, narrow("Endpoints"), AGE), _endpoints)
ENDPOINT_SLICE: Final = Printer(
    (NAME, narrow("AddressType"), narrow("Ports"), narrow("Endpoints"), AGE), _endpoint_slice
)
SERVICE_CIDR: Final = Printer((NAME, narrow("CIDRs"), AGE), _service_cidr)
IP_ADDRESS: Final = Printer((NAME, narrow("ParentRef")), _ip_address)
"""Its rows carry an age no column is named for, as upstream's do."""
