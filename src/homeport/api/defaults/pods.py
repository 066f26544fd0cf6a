"""Defaults of pods and pod templates: containers, probes, volumes, environment.

A pod gets three things a template does not: requests from limits, service links, and host ports on the host network.
"""

from collections.abc import Iterable
from typing import Any

from homeport.api.quantity import Format, Quantity, parse_quantity

__all__ = ["container_requests", "pod", "pod_spec", "pod_template_object", "pull_policy", "resource_list", "statuses"]

Tree = dict[str, Any]

_MODE = 0o644


def pod(tree: Tree) -> None:
    spec = tree["spec"]
    pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    host_network = spec.get("hostNetwork", False)
    for group in ("initContainers", "containers"):
        for container in spec.get(group) or ():
            _requests_from_limits(container["resources"])
            if host_network:
                for port in container.get("ports", ()):
                    port.setdefault("hostPort", port["containerPort"])
    if (resources := spec.get("resources")) and "limits" in resources:
        _pod_requests(spec, resources)
    statuses(tree.get("status", {}))


def pod_template_object(tree: Tree) -> None:
    pod_spec(tree["template"]["spec"])


def pod_spec(spec: Tree) -> None:
    """Fill in what pods and templates share."""
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    spec.setdefault("terminationGracePeriodSeconds", 30)
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for container in spec.get("containers") or ():
        _container(container)
    for container in spec.get("initContainers", ()):
        _container(container)
    for container in spec.get("ephemeralContainers", ()):
        _container(container)
    for volume in spec.get("volumes", ()):
        _volume(volume)
    if "overhead" in spec:
        resource_list(spec["overhead"])
    if "resources" in spec:
        _resources(spec["resources"])


def pull_policy(image: str) -> str:
    """Return `Always` for an image without tag and digest or with the tag `latest`, else `IfNotPresent`."""
    name = image.rsplit("/", 1)[-1]
    if "@" in name:
        return "IfNotPresent"
    _, colon, tag = name.partition(":")
    return "Always" if not colon or tag == "latest" else "IfNotPresent"


def _container(container: Tree) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    if "imagePullPolicy" not in container:
        container["imagePullPolicy"] = pull_policy(container.get("image", ""))
    if resources := container["resources"]:
        _resources(resources)
    for port in container.get("ports", ()):
        port.setdefault("protocol", "TCP")
    for variable in container.get("env", ()):
        if source := variable.get("valueFrom"):
            _env_source(source)
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe := container.get(name):
            _probe(probe)
    for hook in container.get("lifecycle", {}).values():
        if isinstance(hook, dict) and "httpGet" in hook:
            _http_get(hook["httpGet"])


def _env_source(source: Tree) -> None:
    if "fieldRef" in source:
        source["fieldRef"].setdefault("apiVersion", "v1")
    if "fileKeyRef" in source:
        source["fileKeyRef"].setdefault("optional", False)


def _probe(probe: Tree) -> None:
    probe.setdefault("timeoutSeconds", 1)
    probe.setdefault("periodSeconds", 10)
    probe.setdefault("successThreshold", 1)
    probe.setdefault("failureThreshold", 3)
    if "httpGet" in probe:
        _http_get(probe["httpGet"])
    if "grpc" in probe:
        probe["grpc"]["service"] = probe["grpc"].get("service") or ""


def _http_get(action: Tree) -> None:
    action.setdefault("path", "/")
    action.setdefault("scheme", "HTTP")


def _resources(resources: Tree) -> None:
    for name in ("limits", "requests"):
        if name in resources:
            resource_list(resources[name])


def resource_list(amounts: Tree) -> None:
    """Round amounts up to thousandths, the finest a resource is counted in."""
    for name, amount in amounts.items():
        if amount[-1] in "nu":
            amounts[name] = str(Quantity(parse_quantity(amount).milli * 10**6, Format.DECIMAL))


def _requests_from_limits(resources: Tree) -> None:
    if limits := resources.get("limits"):
        requests = resources.setdefault("requests", {})
        for name, amount in limits.items():
            requests.setdefault(name, amount)


def _pod_requests(spec: Tree, resources: Tree) -> None:
    """Pod-level requests left out are what the containers ask for together, or else the pod-level limit."""
    requests = resources.setdefault("requests", {})
    for name, amount in container_requests(spec).items():
        if name in ("cpu", "memory"):
            requests.setdefault(name, str(amount))
    for name, limit in resources["limits"].items():
        if name in ("cpu", "memory") or name.startswith("hugepages-"):
            requests.setdefault(name, limit)
    if not requests:
        del resources["requests"]


def container_requests(spec: Tree) -> dict[str, Quantity]:
    """Return what a pod's containers need at once: all that run on, or one init container beside the sidecars."""
    running = _sum(container for container in spec.get("containers") or ())
    peak: dict[str, Quantity] = {}
    sidecars: dict[str, Quantity] = {}
    for container in spec.get("initContainers", ()):
        asked = _sum([container])
        if container.get("restartPolicy") == "Always":
            sidecars = _added(sidecars, asked)
            asked = sidecars
        else:
            asked = _added(sidecars, asked)
        peak = {name: max(peak.get(name, Quantity(0)), asked.get(name, Quantity(0))) for name in peak | asked}
    total = _added(running, sidecars)
    return {name: max(total.get(name, Quantity(0)), peak.get(name, Quantity(0))) for name in total | peak}


def _sum(containers: Iterable[Tree]) -> dict[str, Quantity]:
    total: dict[str, Quantity] = {}
    for container in containers:
        requests = (container.get("resources") or {}).get("requests", {})
        total = _added(total, {name: parse_quantity(amount) for name, amount in requests.items()})
    return total


def _added(one: dict[str, Quantity], other: dict[str, Quantity]) -> dict[str, Quantity]:
    return {name: one.get(name, Quantity(0)) + other.get(name, Quantity(0)) for name in one | other}


def _volume(volume: Tree) -> None:
    if len(volume) == 1:
        volume["emptyDir"] = {}
        return
    for name, source in volume.items():
        if name in _VOLUMES:
            _VOLUMES[name](source)


def _with_mode(source: Tree) -> None:
    source.setdefault("defaultMode", _MODE)


def _downward(source: Tree) -> None:
    _with_mode(source)
    _downward_items(source)


def _downward_items(source: Tree) -> None:
    for item in source.get("items", ()):
        if "fieldRef" in item:
            item["fieldRef"].setdefault("apiVersion", "v1")


def _projected(source: Tree) -> None:
    _with_mode(source)
    for part in source.get("sources") or ():
        if "serviceAccountToken" in part:
            part["serviceAccountToken"].setdefault("expirationSeconds", 3600)
        if "downwardAPI" in part:
            _downward_items(part["downwardAPI"])


def _host_path(source: Tree) -> None:
    source.setdefault("type", "")


def _rbd(source: Tree) -> None:
    for key, value in (("pool", "rbd"), ("user", "admin"), ("keyring", "/etc/ceph/keyring")):
        source.setdefault(key, value)


def _azure_disk(source: Tree) -> None:
    for key, value in (("cachingMode", "ReadWrite"), ("fsType", "ext4"), ("readOnly", False), ("kind", "Shared")):
        source.setdefault(key, value)


def _iscsi(source: Tree) -> None:
    source.setdefault("iscsiInterface", "default")


def _scale_io(source: Tree) -> None:
    source.setdefault("storageMode", "ThinProvisioned")
    source.setdefault("fsType", "xfs")


def _ephemeral(source: Tree) -> None:
    if template := source.get("volumeClaimTemplate"):
        template["spec"].setdefault("volumeMode", "Filesystem")


def _image(source: Tree) -> None:
    if "pullPolicy" not in source:
        source["pullPolicy"] = pull_policy(source.get("reference", ""))


_VOLUMES = {
    "secret": _with_mode,
    "configMap": _with_mode,
    "downwardAPI": _downward,
    "projected": _projected,
    "hostPath": _host_path,
    "rbd": _rbd,
    "azureDisk": _azure_disk,
    "iscsi": _iscsi,
    "scaleIO": _scale_io,
    "ephemeral": _ephemeral,
    "image": _image,
}


def statuses(status: Tree) -> None:
    """Keep the singular address and the first of the list the same, whichever was written."""
    addresses = status.get("podIPs")
    if (single := status.get("podIP")) and (not addresses or addresses[0].get("ip") != single):
        status["podIPs"] = [{"ip": single}]
    elif addresses:
        status["podIP"] = addresses[0].get("ip", "")
