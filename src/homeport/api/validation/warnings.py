"""What a client is told although its write succeeds: texts of `Warning` headers (services-dns 2.3, workloads 1.2)."""

import base64
from collections.abc import Iterator
from typing import Any, Final

from homeport.api.resources import Gvk
from homeport.api.validation import names
from homeport.api.validation.pod_warnings import (
    DEPRECATED_VOLUMES,
    fraction,
    network_spelling,
    node_term,
    pod_spec_warnings,
    spelling,
)

__all__ = ["deprecation", "warnings_for"]

Tree = dict[str, Any]

ENDPOINTS_DEPRECATED: Final = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
_NEGATIVE_HISTORY: Final = (
    "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
)
_RECYCLE: Final = (
    "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach "
    "is to use dynamic provisioning."
)
_BETA_CLASS: Final = "volume.beta.kubernetes.io/storage-class"
_HINTS: Final = "service.kubernetes.io/topology-aware-hints"
_MANY_COMPLETIONS: Final = 100_000
_MANY_AT_ONCE: Final = 10_000
_TOO_MANY_INDEXES: Final = (
    "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes "
    "might not be able to track completedIndexes when a big number of indexes fail"
)
_ZONE_IN_SCHEDULE: Final = (
    "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see "
    "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
)
_MOUNTABLE: Final = "kubernetes.io/enforce-mountable-secrets"


def deprecation(gvk: Gvk) -> str:
    """Return the warning every answer about a kind carries, reads and refusals included; mostly the empty string."""
    return ENDPOINTS_DEPRECATED if (gvk.group, gvk.kind) == ("", "Endpoints") else ""


def warnings_for(gvk: Gvk, new: Tree, old: Tree | None = None) -> list[str]:
    """Return the warnings for a create (`old` is None) or an update, without repetition, in order."""
    match gvk.group, gvk.kind:
        case "", "Pod":
            found = _pod(new) if old is None else iter(())  # updates of pods are frequent and rarely by people
        case "", "Service":
            found = _service(new)
        case "", "Endpoints":
            found = _endpoints(new)
        case "", "PersistentVolumeClaim":
            found = _claim(new)
        case "", "PersistentVolume":
            found = _volume(new)
        case "", "Secret":
            found = _secret(new)
        case "", "ServiceAccount":
            found = _account(new)
        case ("", "ReplicationController") | ("apps", "StatefulSet" | "DaemonSet" | "Deployment" | "ReplicaSet"):
            found = _workload(gvk.kind, new, old)
        case "", "PodTemplate":
            found = _template(new, old)
        case "batch", "Job":
            found = _job(new, old, new["spec"], "spec")
        case "batch", "CronJob":
            found = _cron_job(new, old)
        case "discovery.k8s.io", "EndpointSlice":
            found = _slice(new)
        case _:
            return []
    return list(dict.fromkeys(found))


def _workload(kind: str, new: Tree, old: Tree | None) -> Iterator[str]:
    spec = new["spec"]
    if old is None and kind not in ("StatefulSet", "DaemonSet"):
        yield from _name(new, "this is used in Pod names and hostnames")
    template = spec.get("template")
    if template and (old is None or new["metadata"].get("generation") != old["metadata"].get("generation")):
        yield from pod_spec_warnings(template["spec"], template.get("metadata") or {}, "spec.template")
    for index, claim in enumerate(spec.get("volumeClaimTemplates", ())):
        yield from _claim_spec(claim["spec"], f"spec.volumeClaimTemplates[{index}]{'.Spec' if old else ''}")
    if kind == "StatefulSet" and spec.get("revisionHistoryLimit", 0) < 0:
        yield _NEGATIVE_HISTORY


def _template(new: Tree, old: Tree | None) -> Iterator[str]:
    if old is None or new["metadata"].get("generation") != old["metadata"].get("generation"):
        template = new["template"]
        yield from pod_spec_warnings(template["spec"], template.get("metadata") or {}, "template")


def _job(new: Tree, old: Tree | None, spec: Tree, path: str) -> Iterator[str]:
    if old is None:
        yield from _name(new, "this is used in Pod names and hostnames")
    elif new["metadata"].get("generation") == old["metadata"].get("generation"):
        return
    many = spec.get("completionMode") == "Indexed" and (spec.get("completions") or 0) > _MANY_COMPLETIONS
    if many and (spec.get("parallelism") or 0) > _MANY_AT_ONCE:
        yield f"{path}: {_TOO_MANY_INDEXES}"
    template = spec["template"]
    yield from pod_spec_warnings(template["spec"], template.get("metadata") or {}, f"{path}.template")


def _cron_job(new: Tree, old: Tree | None) -> Iterator[str]:
    yield from _job(new, old, new["spec"]["jobTemplate"]["spec"], "spec.jobTemplate.spec")
    if old is not None and "TZ" in new["spec"].get("schedule", ""):
        yield _ZONE_IN_SCHEDULE


def _pod(new: Tree) -> Iterator[str]:
    yield from _name(new, "this is used in the Pod's hostname")
    yield from pod_spec_warnings(new["spec"], new["metadata"])


def _name(tree: Tree, use: str) -> Iterator[str]:
    if problems := names.dns1123_label(tree["metadata"].get("name", "")):
        text = "which can result in surprising behavior; a DNS label is recommended"
        yield f"metadata.name: {use}, {text}: [{' '.join(problems)}]"


def _claim(new: Tree) -> Iterator[str]:
    if _BETA_CLASS in new["metadata"].get("annotations", {}):
        yield f'metadata.annotations[{_BETA_CLASS}]: deprecated since v1.8; use "storageClassName" attribute instead'
    yield from _claim_spec(new["spec"], "spec")


def _claim_spec(spec: Tree, path: str) -> Iterator[str]:
    for kind in ("requests", "limits"):
        if amount := spec.get("resources", {}).get(kind, {}).get("storage"):
            yield from fraction(amount, f"{path}.resources.{kind}[storage]")


def _volume(new: Tree) -> Iterator[str]:
    spec = new["spec"]
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        yield _RECYCLE
    terms = ((spec.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or ()
    for index, term in enumerate(terms):
        yield from node_term(term, f"spec.nodeAffinity.required.nodeSelectorTerms[{index}]")
    for kind, text in DEPRECATED_VOLUMES.items():
        if kind in spec:
            yield f"spec.{'storageOS' if kind == 'storageos' else kind}: {text}"


def _account(new: Tree) -> Iterator[str]:
    if _MOUNTABLE in new["metadata"].get("annotations", {}):
        text = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        yield f"metadata.annotations[{_MOUNTABLE}]: {text}"


def _secret(new: Tree) -> Iterator[str]:
    """Warn of a key pair that cannot be one; whether a well-formed one fits together is not looked at."""
    if new.get("type") != "kubernetes.io/tls":
        return
    for key, what in (("tls.crt", "certificate"), ("tls.key", "key")):
        if b"-----BEGIN " not in base64.b64decode(new.get("data", {}).get(key, "")):
            yield f"tls: failed to find any PEM data in {what} input"
            return


def _service(new: Tree) -> Iterator[str]:
    spec = new["spec"]
    if _HINTS in new["metadata"].get("annotations", {}):
        yield f"annotation {_HINTS} is deprecated, please use service.kubernetes.io/topology-mode instead"
    external, kind = spec.get("externalIPs", ()), spec.get("type")
    headless = spec.get("clusterIP") == "None"
    if not headless:
        for index, address in enumerate(spec.get("clusterIPs", ())):
            yield from spelling(address, f"spec.clusterIPs[{index}]")
    else:
        if spec.get("loadBalancerIP"):
            yield "spec.loadBalancerIP is ignored for headless services"
        if external:
            yield "spec.externalIPs is ignored for headless services"
        if spec.get("sessionAffinity") != "None":
            yield "spec.SessionAffinity is ignored for headless services"
    for index, address in enumerate(external):
        yield from spelling(address, f"spec.externalIPs[{index}]")
    if external and not headless and kind != "ExternalName":
        yield "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
    if address := spec.get("loadBalancerIP"):
        yield from spelling(address, "spec.loadBalancerIP")
    for index, network in enumerate(spec.get("loadBalancerSourceRanges", ())):
        yield from network_spelling(network, f"spec.loadBalancerSourceRanges[{index}]")
    if external and kind == "ExternalName":
        yield 'spec.externalIPs is ignored when spec.type is "ExternalName"'
    if spec.get("externalName") and kind != "ExternalName":
        yield 'spec.externalName is ignored when spec.type is not "ExternalName"'
    if spec.get("trafficDistribution") == "PreferClose":
        yield 'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'


def _endpoints(new: Tree) -> Iterator[str]:
    """Warn of addresses; the controller's are as they should be."""
    if new["metadata"].get("labels", {}).get("endpoints.kubernetes.io/managed-by") == "endpoint-controller":
        return
    for index, subset in enumerate(new.get("subsets", ())):
        for group in ("addresses", "notReadyAddresses"):
            for position, address in enumerate(subset.get(group, ())):
                yield from spelling(address.get("ip", ""), f"subsets[{index}].{group}[{position}].ip")


def _slice(new: Tree) -> Iterator[str]:
    if new.get("addressType") == "FQDN":
        yield "spec.addressType: FQDN endpoints are deprecated"
    for index, endpoint in enumerate(new.get("endpoints") or ()):
        for position, address in enumerate(endpoint.get("addresses") or ()):
            yield from spelling(address, f"endpoints[{index}].addresses[{position}]")
