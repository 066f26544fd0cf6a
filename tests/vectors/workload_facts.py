"""What the recordings keep of an object: facts for `changes`, rows for `state`, and how names are normalised."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from homeport.ids import SUFFIX_ALPHABET

Object = Mapping[str, Any]
NAMESPACE = "ns-under-replay"
RANDOM = re.compile(rf"(.*-)[{SUFFIX_ALPHABET}]{{5}}$")
REFUSED = re.compile(rf'^(pods "[^"]*-)[{SUFFIX_ALPHABET}]{{5}}"')
UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
NO_ANNOTATIONS = {"Endpoints", "EndpointSlice", "Service", "Namespace"}
NO_LABELS: set[str] = set()


def normalise(value: Any) -> Any:
    """Put placeholders for the namespace, uids and times, all the way down."""
    if isinstance(value, str):
        return TIME.sub("<time>", UID.sub("<uid>", value.replace(NAMESPACE, "<ns>")))
    if isinstance(value, Mapping):
        return {normalise(name): normalise(each) for name, each in value.items() if not name.endswith("controller-uid")}
    if isinstance(value, list | tuple):
        return [normalise(each) for each in value]
    return value


def localise(value: Any) -> Any:
    """Put the namespace of the replay where a recording says `<ns>`."""
    if isinstance(value, str):
        return value.replace("<ns>", NAMESPACE)
    if isinstance(value, Mapping):
        return {localise(name): localise(each) for name, each in value.items()}
    return [localise(each) for each in value] if isinstance(value, list) else value


class Names:
    """Random names told apart (`tracked`) or folded, and incarnations counted."""

    def __init__(self, *, tracked: bool, nodes_shown: bool = False) -> None:
        self.tracked, self.nodes_shown = tracked, nodes_shown
        self.numbers: dict[str, str] = {}
        self.counts: dict[str, int] = defaultdict(int)
        self.incarnations: dict[tuple[str, str], list[str]] = defaultdict(list)

    def see(self, obj: Object) -> None:
        metadata = obj["metadata"]
        uids = self.incarnations[obj["kind"], metadata["name"]]
        if metadata["uid"] not in uids:
            uids.append(metadata["uid"])
        if obj["kind"] == "Job" and controller_kinds(obj) == ["CronJob"] and metadata["name"] not in self.numbers:
            base = f"{metadata['ownerReferences'][0]['name']}-"
            self.counts[base] += 1
            self.numbers[metadata["name"]] = f"{base}<minute {self.counts[base]}>"
        if self.is_random(obj) and metadata["name"] not in self.numbers:
            base = self.inside(metadata["generateName"])
            self.counts[base] += 1
            self.numbers[metadata["name"]] = f"{base}#{self.counts[base]}" if self.tracked else f"{base}*"

    def incarnation(self, obj: Object) -> int:
        return self.incarnations[obj["kind"], obj["metadata"]["name"]].index(obj["metadata"]["uid"]) + 1

    @staticmethod
    def is_random(obj: Object) -> bool:
        metadata = obj["metadata"]
        match = RANDOM.match(metadata["name"])
        return bool(match) and metadata.get("generateName") == match[1]

    def of(self, obj: Object) -> str:
        name = obj["metadata"]["name"]
        return self.numbers.get(name, name)

    def inside(self, text: str) -> str:
        """Normalise the random names a message mentions."""
        for name, shown in sorted(self.numbers.items(), key=lambda pair: -len(pair[0])):
            text = text.replace(name, shown)
        return text


def owners(obj: Object, names: Names) -> list[str]:
    def words(owner: Mapping[str, Any]) -> str:
        flags = [flag for flag in ("controller", "blockOwnerDeletion") if owner.get(flag)]
        return " ".join([f"{owner['kind']}/{names.numbers.get(owner['name'], owner['name'])}", *flags])

    return [words(owner) for owner in obj["metadata"].get("ownerReferences") or ()]


def facts(obj: Object, names: Names) -> dict[str, Any]:
    """Return all facts of an object that are not empty."""
    kind, metadata, spec = obj["kind"], obj["metadata"], obj.get("spec") or {}
    out: dict[str, Any] = {
        "labels": own_labels(metadata, names),
        "annotations": None if kind in NO_ANNOTATIONS else metadata.get("annotations"),
        "finalizers": metadata.get("finalizers"),
        "owners": owners(obj, names),
    }
    match kind:
        case "Pod":
            out |= pod_facts(spec)
            if controller_kinds(obj) == ["Job"]:
                out |= {"env": [each for container in spec["containers"] for each in container.get("env") or ()]}
            if controller_kinds(obj) == ["DaemonSet"]:
                out |= {"affinity": spec.get("affinity"), "tolerations": tolerations(spec)}
        case "Node":
            out |= {"taints": [f"{each['key']}:{each['effect']}" for each in spec.get("taints") or ()]}
        case "ReplicaSet":
            out |= {
                "replicas": spec.get("replicas"),
                "selector": spec.get("selector"),
                "template_labels": spec["template"]["metadata"].get("labels"),
            }
        case "Job":
            out |= {"parallelism": spec.get("parallelism"), "completions": spec.get("completions")}
        case "ReplicationController":
            out |= {"replicas": spec.get("replicas")}
        case "ControllerRevision":
            out |= {"revision": obj.get("revision")}
        case "PersistentVolumeClaim":
            out |= {
                "request": spec["resources"]["requests"]["storage"],
                "access": spec.get("accessModes"),
                "class": spec.get("storageClassName"),
                "volume": spec.get("volumeName"),
            }
        case "PersistentVolume":
            out |= volume_facts(obj)
        case "Namespace":
            out |= {"spec_finalizers": spec.get("finalizers"), "status": clean(obj.get("status"), in_order=True)}
        case "ConfigMap":
            out |= {"keys": sorted(obj.get("data") or ())}
        case "Service":
            out |= {"cluster_ip": "None" if spec.get("clusterIP") == "None" else "assigned"}
        case "Endpoints":
            out |= {"subsets": [subset(each) for each in obj.get("subsets") or ()]}
        case "EndpointSlice":
            out |= slice_facts(obj)
    return {name: normalise(value) for name, value in out.items() if value}


def own_labels(metadata: Object, names: Names) -> dict[str, str]:
    """Return the labels but for the uids of Jobs, random names normalised."""
    labels = metadata.get("labels") or {}
    return {key: names.inside(value) for key, value in labels.items() if not key.endswith("controller-uid")}


def pod_facts(spec: Object) -> dict[str, Any]:
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in spec.get("volumes") or ()
        if volume.get("persistentVolumeClaim")
    }
    return {
        "hostname": spec.get("hostname"),
        "subdomain": spec.get("subdomain"),
        "claims": claims,
        "images": [container["image"] for container in spec["containers"]],
    }


def controller_kinds(obj: Object) -> list[str]:
    return [each["kind"] for each in obj["metadata"].get("ownerReferences") or () if each.get("controller")]


def tolerations(spec: Object) -> list[str]:
    shown = (spec.get("tolerations") or ()) if spec else ()
    return sorted(f"{each['key']}:{each['effect']}:{each['operator']}" for each in shown)


def alike(value: Any) -> Any:
    """Put one placeholder for every node of the scenario."""
    return json.loads(re.sub(r"<ns>-n\d+", "<some node>", json.dumps(value)))


def volume_facts(obj: Object) -> dict[str, Any]:
    claim = obj["spec"].get("claimRef") or {}
    return {
        "reclaim": obj["spec"].get("persistentVolumeReclaimPolicy"),
        "phase": (obj.get("status") or {}).get("phase"),
        "claim": claim.get("name"),
        "claim_has_uid": bool(claim.get("uid")),
    }


def target(entry: Object) -> dict[str, Any]:
    reference = entry.get("targetRef") or {}
    out = {
        "target": f"{reference['kind']}/{reference['name']}" if reference else None,
        "node": entry.get("nodeName"),
        "hostname": entry.get("hostname"),
    }
    return {"ip": "pod address", **{name: value for name, value in out.items() if value}}


def subset(entry: Object) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if entry.get("ports"):
        out["ports"] = entry["ports"]
    for name in ("addresses", "notReadyAddresses"):
        if entry.get(name):
            out[name] = sorted((target(each) for each in entry[name]), key=str)
    return out


def slice_facts(obj: Object) -> dict[str, Any]:
    endpoints = [{**target(each), "conditions": each.get("conditions")} for each in obj.get("endpoints") or ()]
    return {
        "address_type": obj.get("addressType"),
        "ports": obj.get("ports"),
        "endpoints": sorted(endpoints, key=str),
    }


def clean(status: Any, *, in_order: bool = False) -> Any:
    """Leave out what no two runs share: times of conditions, and their order unless it is always the same."""
    if isinstance(status, Mapping):
        kept = {
            name: clean(value, in_order=in_order)
            for name, value in status.items()
            if name not in ("lastTransitionTime", "lastUpdateTime", "lastProbeTime")
        }
        if not in_order and "conditions" in kept:
            kept["conditions"] = sorted(kept["conditions"], key=lambda each: each["type"])
        return kept
    return [clean(each, in_order=in_order) for each in status] if isinstance(status, list) else status


def full(row: dict[str, Any]) -> dict[str, Any]:
    """Drop what is empty, but keep facts that are False or 0 where they are always shown."""
    return {name: value for name, value in row.items() if value or name in ("ready", "status")}


def pod_row(obj: Object, names: Names) -> dict[str, Any]:
    metadata, status = obj["metadata"], obj.get("status") or {}
    labels = metadata.get("labels") or {}
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ())
    row = {
        "name": names.of(obj),
        "revision": labels.get("controller-revision-hash") or labels.get("pod-template-hash"),
        "phase": status.get("phase"),
        "ready": ready,
        "unbound": not obj["spec"].get("nodeName"),
        "terminating": "deletionTimestamp" in metadata,
        "finalizers": metadata.get("finalizers"),
    }
    for each in status.get("conditions") or ():
        if each["type"] == "DisruptionTarget":
            row["disruption"] = f"{each['reason']}={each['status']}"
    if names.nodes_shown:
        row["node"] = obj["spec"].get("nodeName")
    if controller_kinds(obj) != ["StatefulSet"]:
        row["owners"] = owners(obj, names)
        row["images"] = [container["image"] for container in obj["spec"]["containers"]]
    if not names.is_random(obj) or names.tracked:
        row["incarnation"] = names.incarnation(obj)
    return full(row)


def workload_row(obj: Object, names: Names) -> dict[str, Any]:
    kind, metadata, spec = obj["kind"], obj["metadata"], obj["spec"]
    annotations = metadata.get("annotations") or {}
    status = clean(obj.get("status") or {})
    row: dict[str, Any] = {
        "kind": kind,
        "name": names.of(obj),
        "generation": metadata.get("generation"),
        "replicas": spec.get("replicas"),
        "status": status,
        "terminating": "deletionTimestamp" in metadata,
        "finalizers": metadata.get("finalizers"),
    }
    prefix = "deployment.kubernetes.io/"
    for condition in status.get("conditions") or ():
        if condition["type"] == "ReplicaFailure":  # it names a pod that never came to be
            condition["message"] = REFUSED.sub(r'\1*"', condition["message"])
    if kind in ("Deployment", "ReplicaSet"):
        row["revision"] = annotations.get(prefix + "revision")
    if kind == "Job":
        row["owners"] = owners(obj, names)
        for condition in status.get("conditions") or ():
            condition["message"] = names.inside(condition["message"])
    if kind in ("Job", "CronJob") and not status:
        del row["status"]
    if kind == "CronJob":
        for job in status.get("active") or ():
            job["name"] = names.numbers.get(job["name"], job["name"])
            del job["uid"], job["resourceVersion"]
    if kind == "ReplicaSet":
        del row["generation"]
        status.pop("observedGeneration", None)
        row |= {
            "owners": owners(obj, names),
            "images": [container["image"] for container in spec["template"]["spec"]["containers"]],
            "desired-replicas": annotations.get(prefix + "desired-replicas"),
            "max-replicas": annotations.get(prefix + "max-replicas"),
            "revision-history": annotations.get(prefix + "revision-history"),
        }
    return full(row)


def claim_row(obj: Object, names: Names) -> dict[str, Any]:
    return full(
        {
            "name": obj["metadata"]["name"],
            "phase": (obj.get("status") or {}).get("phase"),
            "owners": owners(obj, names),
            "incarnation": names.incarnation(obj),
            "terminating": "deletionTimestamp" in obj["metadata"],
            "volume": obj["spec"].get("volumeName"),
        }
    )


def plain_row(obj: Object, names: Names) -> dict[str, Any]:
    """The row of a kind whose state is its facts."""
    row = {"name": names.of(obj), **facts(obj, names), "terminating": "deletionTimestamp" in obj["metadata"]}
    return full(row)


def revision_row(obj: Object, names: Names) -> dict[str, Any]:
    return full({"name": obj["metadata"]["name"], "revision": obj["revision"], "owners": owners(obj, names)})


STATE = {
    "Pod": ("pods", pod_row),
    "StatefulSet": ("workloads", workload_row),
    "Deployment": ("workloads", workload_row),
    "DaemonSet": ("workloads", workload_row),
    "Job": ("workloads", workload_row),
    "CronJob": ("workloads", workload_row),
    "PodDisruptionBudget": ("workloads", workload_row),
    "ReplicaSet": ("workloads", workload_row),
    "ReplicationController": ("workloads", workload_row),
    "ControllerRevision": ("revisions", revision_row),
    "PersistentVolumeClaim": ("claims", claim_row),
    "PersistentVolume": ("volumes", plain_row),
    "Endpoints": ("endpoints", plain_row),
    "EndpointSlice": ("endpointslice", plain_row),
    "ConfigMap": ("configmaps", plain_row),
    "ServiceAccount": ("serviceaccounts", plain_row),
}
