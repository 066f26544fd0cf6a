"""What a client is told although its write succeeds: texts of `Warning` headers (services-dns 2.3, workloads 1.2)."""

import base64
from collections.abc import Iterator
from typing import Any, Final

from homeport.api.resources import Gvk
from homeport.api.validation import addresses, names

__all__ = ["deprecation", "warnings_for"]

Tree = dict[str, Any]

ENDPOINTS_DEPRECATED: Final = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
_NEGATIVE_HISTORY: Final = (
    "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
)
_BETA_CLASS: Final = "volume.beta.kubernetes.io/storage-class"
_HINTS: Final = "service.kubernetes.io/topology-aware-hints"


def deprecation(gvk: Gvk) -> str:
    """Return the warning every answer about a kind carries, reads and refusals included; mostly the empty string."""
    return ENDPOINTS_DEPRECATED if (gvk.group, gvk.kind) == ("", "Endpoints") else ""


def warnings_for(gvk: Gvk, new: Tree, old: Tree | None = None) -> list[str]:
    """Return the warnings for a create (`old` is None) or an update, without repetition, in order."""
    match gvk.group, gvk.kind:
        case "", "Pod":
            found = _pod(new, old)
        case "", "Service":
            found = _service(new)
        case "", "PersistentVolumeClaim":
            found = _claim(new)
        case "", "Secret":
            found = _secret(new)
        case "apps", "StatefulSet" | "Deployment" | "ReplicaSet":
            found = _workload(gvk.kind, new, old)
        case "discovery.k8s.io", "EndpointSlice":
            found = _slice(new)
        case "", "PersistentVolume":
            found = _volume(new)
        case _:
            return []
    return list(dict.fromkeys(found))


def _workload(kind: str, new: Tree, old: Tree | None) -> Iterator[str]:
    spec = new["spec"]
    if kind == "StatefulSet":
        if spec.get("revisionHistoryLimit", 0) < 0:
            yield _NEGATIVE_HISTORY
    elif old is None and (problems := names.dns1123_label(new["metadata"].get("name", ""))):
        yield (
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "
            f"a DNS label is recommended: {_go_list(problems)}"
        )
    if old is None or spec["template"] != old["spec"]["template"]:
        yield from _pod_spec(spec["template"]["spec"], "spec.template.spec")


def _pod(new: Tree, old: Tree | None) -> Iterator[str]:
    if old is None and (problems := names.dns1123_label(new["metadata"].get("name", ""))):
        yield (
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; "
            f"a DNS label is recommended: {_go_list(problems)}"
        )
    if old is None or new["spec"] != old["spec"]:
        yield from _pod_spec(new["spec"], "spec")


def _go_list(problems: tuple[str, ...]) -> str:
    return "[" + ", ".join('"' + p.replace("\\", "\\\\").replace('"', '\\"') + '"' for p in problems) + "]"


def _pod_spec(spec: Tree, path: str) -> Iterator[str]:
    for index, volume in enumerate(spec.get("volumes", ())):
        for kind, text in _DEPRECATED_VOLUMES.items():
            if kind in volume:
                yield f"{path}.volumes[{index}].{kind}: {text}"
    for index, alias in enumerate(spec.get("hostAliases", ())):
        yield from _spelling(alias.get("ip", ""), f"{path}.hostAliases[{index}].ip")
    for index, secret in enumerate(spec.get("imagePullSecrets", ())):
        if not secret.get("name"):
            yield f'{path}.imagePullSecrets[{index}].name: invalid empty name ""'
    grace = spec.get("terminationGracePeriodSeconds")
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group) or ()):
            yield from _container(container, f"{path}.{group}[{index}]")
    if grace is not None and grace < 0:
        text = "must be >= 0; negative values are invalid and will be treated as 1"
        yield f"{path}.terminationGracePeriodSeconds: {text}"
    yield from _node_terms(spec, path)


def _container(container: Tree, path: str) -> Iterator[str]:
    seen: set[str] = set()
    for index, variable in enumerate(container.get("env", ())):
        name = variable.get("name", "")
        if name in seen and not _refers_to_itself(variable, name):
            text = f'hides previous definition of "{name}", which may be dropped when using apply'
            yield f"{path}.env[{index}]: {text}"
        seen.add(name)
    for kind in ("requests", "limits"):
        for name, amount in container.get("resources", {}).get(kind, {}).items():
            if name in ("memory", "ephemeral-storage", "storage"):
                yield from _fraction(amount, f"{path}.resources.{kind}[{name}]")
    ports: set[tuple[Any, Any, Any]] = set()
    for index, port in enumerate(container.get("ports", ())):
        key = (port.get("containerPort"), port.get("protocol"), port.get("hostPort"))
        if key in ports and not port.get("hostPort"):
            yield f"{path}.ports[{index}]: duplicate port definition with {path}.ports[{_first(container, key)}]"
        ports.add(key)


def _first(container: Tree, key: tuple[Any, Any, Any]) -> int:
    return next(
        index
        for index, port in enumerate(container["ports"])
        if (port.get("containerPort"), port.get("protocol"), port.get("hostPort")) == key
    )


def _refers_to_itself(variable: Tree, name: str) -> bool:
    return f"$({name})" in variable.get("value", "")


_DEPRECATED_LABELS: Final = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
}


def _node_terms(spec: Tree, path: str) -> Iterator[str]:
    for key in spec.get("nodeSelector", {}):
        if text := _DEPRECATED_LABELS.get(key):
            yield f"{path}.nodeSelector[{key}]: {text}"


_DEPRECATED_VOLUMES: Final = {
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
}


def _service(new: Tree) -> Iterator[str]:
    spec = new["spec"]
    if _HINTS in new["metadata"].get("annotations", {}):
        yield f"annotation {_HINTS} is deprecated, please use service.kubernetes.io/topology-mode instead"
    external = spec.get("externalIPs", ())
    kind = spec.get("type")
    headless = spec.get("clusterIP") == "None"
    if headless:
        if spec.get("loadBalancerIP"):
            yield "spec.loadBalancerIP is ignored for headless services"
        if external:
            yield "spec.externalIPs is ignored for headless services"
        if spec.get("sessionAffinity", "None") != "None":
            yield "spec.SessionAffinity is ignored for headless services"
    else:
        for index, address in enumerate(spec.get("clusterIPs", ())):
            yield from _spelling(address, f"spec.clusterIPs[{index}]")
        if address := spec.get("loadBalancerIP"):
            yield from _spelling(address, "spec.loadBalancerIP")
    for index, address in enumerate(external):
        yield from _spelling(address, f"spec.externalIPs[{index}]")
    if external and not headless:
        if kind == "ExternalName":
            yield 'spec.externalIPs is ignored when spec.type is "ExternalName"'
        else:
            yield "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
    if spec.get("externalName") and kind != "ExternalName":
        yield 'spec.externalName is ignored when spec.type is not "ExternalName"'
    if spec.get("trafficDistribution") == "PreferClose":
        yield 'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'


def _spelling(address: str, path: str) -> Iterator[str]:
    """Warn of an IPv6 address not written as RFC 5952 wants it."""
    canonical = addresses.canonical_ip(address)
    if ":" in address and canonical != address:
        yield f'{path}: IPv6 address "{address}" should be in RFC 5952 canonical format ("{canonical}")'


def _claim(new: Tree) -> Iterator[str]:
    if _BETA_CLASS in new["metadata"].get("annotations", {}):
        yield f'metadata.annotations[{_BETA_CLASS}]: deprecated since v1.8; use "storageClassName" attribute instead'
    for kind, amounts in new["spec"].get("resources", {}).items():
        if amount := amounts.get("storage", ""):
            yield from _fraction(amount, f"spec.resources.{kind}[storage]")


def _fraction(amount: str, path: str) -> Iterator[str]:
    if amount.endswith("m"):
        yield f'{path}: fractional byte value "{amount}" is invalid, must be an integer'


def _secret(new: Tree) -> Iterator[str]:
    """Warn of a key pair that cannot be one; whether a well-formed one fits together is not looked at."""
    if new.get("type") != "kubernetes.io/tls":
        return
    for key, what in (("tls.crt", "certificate"), ("tls.key", "key")):
        if b"-----BEGIN " not in base64.b64decode(new.get("data", {}).get(key, "")):
            yield f"tls: failed to find any PEM data in {what} input"
            return


def _slice(new: Tree) -> Iterator[str]:
    if new.get("addressType") == "FQDN":
        yield "spec.addressType: FQDN endpoints are deprecated"


def _volume(new: Tree) -> Iterator[str]:
    for kind, text in _DEPRECATED_VOLUMES.items():
        if kind in new["spec"]:
            yield f"spec.{kind}: {text}"
    if new["spec"].get("persistentVolumeReclaimPolicy") == "Recycle":
        yield (
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended "
            "approach is to use dynamic provisioning."
        )
