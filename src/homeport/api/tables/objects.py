"""Rows of the small kinds: namespaces, nodes, config maps, secrets, accounts, leases, events (15.4, 15.7)."""

from typing import Any, Final

from homeport.api.tables.cells import AGE, NAME, NONE, Cells, Printer, Tree, age, narrow, since, wide

__all__ = ["CONFIG_MAP", "EVENT", "LEASE", "NAMESPACE", "NODE", "RESOURCE_QUOTA", "SECRET", "SERVICE_ACCOUNT"]

_ROLE_PREFIX: Final = "node-role.kubernetes.io/"
_ROLE_LABEL: Final = "kubernetes.io/role"


def _name(tree: Tree) -> Any:
    return tree["metadata"].get("name", "")


def _config_map(tree: Tree, now: float) -> Cells:
    return [_name(tree), len(tree.get("data", {})) + len(tree.get("binaryData", {})), age(tree, now)]


def _secret(tree: Tree, now: float) -> Cells:
    return [_name(tree), tree.get("type", ""), len(tree.get("data", {})), age(tree, now)]


def _service_account(tree: Tree, now: float) -> Cells:
    return [_name(tree), age(tree, now)]


def _quota(tree: Tree, now: float) -> Cells:
    status = tree.get("status") or {}
    used = status.get("used") or {}
    texts: dict[bool, list[str]] = {False: [], True: []}
    for name, most in sorted((status.get("hard") or {}).items()):
        texts[name.startswith("limits.")].append(f"{name}: {used.get(name, '0')}/{most}")
    return [_name(tree), ", ".join(texts[False]), ", ".join(texts[True]), age(tree, now)]


def _namespace(tree: Tree, now: float) -> Cells:
    return [_name(tree), tree.get("status", {}).get("phase", ""), age(tree, now)]


def _lease(tree: Tree, now: float) -> Cells:
    return [_name(tree), (tree.get("spec") or {}).get("holderIdentity") or "", age(tree, now)]


def _node(tree: Tree, now: float) -> Cells:
    status = tree.get("status", {})
    info = status.get("nodeInfo", {})
    kernel = info.get("kernelVersion") or "<unknown>"
    if info.get("architecture"):
        kernel = f"{kernel} ({info['architecture']})"
    return [
        _name(tree),
        _node_status(tree),
        _roles(tree["metadata"].get("labels", {})),
        age(tree, now),
        info.get("kubeletVersion", ""),
        _node_address(status, "InternalIP"),
        _node_address(status, "ExternalIP"),
        info.get("osImage") or "<unknown>",
        kernel,
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def _node_status(tree: Tree) -> str:
    conditions = tree.get("status", {}).get("conditions", ())
    ready = next((c for c in conditions if c.get("type") == "Ready"), None)
    word = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    return f"{word},SchedulingDisabled" if tree["spec"].get("unschedulable") else word


def _roles(labels: Tree) -> str:
    roles = {key.removeprefix(_ROLE_PREFIX) for key in labels if key.startswith(_ROLE_PREFIX)}
    if labels.get(_ROLE_LABEL):
        roles.add(labels[_ROLE_LABEL])
    return ",".join(sorted(roles - {""})) or NONE


def _node_address(status: Tree, kind: str) -> Any:
    return next((a.get("address") for a in status.get("addresses", ()) if a.get("type") == kind), NONE)


def _event(tree: Tree, now: float) -> Cells:
    """Show an event of either API; the newer one keeps the older fields under other names."""
    series = tree.get("series") or {}
    about = tree.get("involvedObject") or tree.get("regarding") or {}
    first_time = tree.get("firstTimestamp") or tree.get("deprecatedFirstTimestamp")
    last_time = tree.get("lastTimestamp") or tree.get("deprecatedLastTimestamp")
    first = since(first_time or tree.get("eventTime"), now)
    if series.get("lastObservedTime"):
        last = since(series["lastObservedTime"], now)
    else:
        last = since(last_time, now) if last_time else first
    count = series.get("count") or tree.get("count") or tree.get("deprecatedCount") or 1
    name = about.get("name", "")
    return [
        last,
        tree.get("type", ""),
        tree.get("reason", ""),
        f"{about.get('kind', '').lower()}/{name}" if name else about.get("kind", "").lower(),
        about.get("fieldPath", ""),
        _source(tree),
        (tree.get("message") or tree.get("note") or "").strip(),
        first,
        count,
        _name(tree),
    ]


def _source(tree: Tree) -> str:
    source = tree.get("source") or tree.get("deprecatedSource") or {}
    component = source.get("component") or tree.get("reportingComponent") or tree.get("reportingController") or ""
    host = source.get("host") or tree.get("reportingInstance") or ""
    return f"{component}, {host}" if host else str(component)


CONFIG_MAP: Final = Printer((NAME, narrow("Data"), AGE), _config_map)
SECRET: Final = Printer((NAME, narrow("Type"), narrow("Data"), AGE), _secret)
RESOURCE_QUOTA: Final = Printer((NAME, narrow("Request"), narrow("Limit"), AGE), _quota)
SERVICE_ACCOUNT: Final = Printer((NAME, AGE), _service_account)
NAMESPACE: Final = Printer((NAME, narrow("Status"), AGE), _namespace)
LEASE: Final = Printer((NAME, narrow("Holder"), AGE), _lease)
NODE: Final = Printer(
    (
        NAME,
        narrow("Status"),
        narrow("Roles"),
        AGE,
        narrow("Version"),
        wide("Internal-IP"),
        wide("External-IP"),
        wide("OS-Image"),
        wide("Kernel-Version"),
        wide("Container-Runtime"),
    ),
    _node,
)
EVENT: Final = Printer(
    (
        narrow("Last Seen"),
        narrow("Type"),
        narrow("Reason"),
        narrow("Object"),
        wide("Subobject"),
        wide("Source"),
        narrow("Message"),
        wide("First Seen"),
        wide("Count"),
        ("Name", "string", "name", 1),
    ),
    _event,
)
