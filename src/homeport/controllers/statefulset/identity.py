"""A pod's place in its set: names, ordinals, the fields a set forces on its pods, and which revision they come from.

Source: `workloads` 2 and 5.1.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from homeport.controllers.history import Revision
from homeport.controllers.pod_template import pod_metadata
from homeport.controllers.statefulset.claims import claim_name
from homeport.controllers.statefulset.model import Pod, StatefulSet

__all__ = [
    "INDEX_LABEL",
    "NAME_LABEL",
    "REVISION_LABEL",
    "belongs",
    "expected_claims",
    "identity_labels",
    "plan",
    "pod_name",
    "split_name",
    "storage_matches",
]

NAME_LABEL: Final = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL: Final = "apps.kubernetes.io/pod-index"
REVISION_LABEL: Final = "controller-revision-hash"

_NAME: Final = re.compile(r"^(.*)-([0-9]+)$", re.DOTALL)
_INT32_MAX: Final = 2**31 - 1


@lru_cache(maxsize=16384)
def split_name(name: str) -> tuple[str, int]:
    """Return the set's name and the ordinal a pod name spells; ordinal -1 when it spells none."""
    match = _NAME.match(name)
    if match is None:
        return "", -1
    ordinal = int(match[2])
    return match[1], ordinal if ordinal <= _INT32_MAX else -1


def belongs(pod_name: str, set_name: str) -> bool:
    """Whether the name makes it a pod of this set; labels alone never do."""
    return split_name(pod_name)[0] == set_name


def pod_name(desired: StatefulSet, ordinal: int) -> str:
    return f"{desired.name}-{ordinal}"


def identity_labels(desired: StatefulSet, ordinal: int) -> Mapping[str, str]:
    return {NAME_LABEL: pod_name(desired, ordinal), INDEX_LABEL: str(ordinal)}


def expected_claims(desired: StatefulSet, ordinal: int) -> Mapping[str, str]:
    """Return the claim by volume name a pod's volumes must lead to."""
    return {template.name: claim_name(desired, template, ordinal) for template in desired.claim_templates}


def storage_matches(desired: StatefulSet, pod: Pod) -> bool:
    """Whether every claim template has its volume; more volumes do no harm."""
    have = pod.claims or {}
    return all(have.get(volume) == name for volume, name in expected_claims(desired, pod.ordinal).items())


def plan(desired: StatefulSet, ordinal: int, current: Revision, update: Revision) -> Pod:
    """Return the pod to create at an ordinal, from the revision that applies to it (5.1)."""
    revision = current if _stays_on_current(desired, ordinal) else update
    name = pod_name(desired, ordinal)
    claims = expected_claims(desired, ordinal)
    return Pod(
        name,
        ordinal,
        revision=revision.name,
        name_label=name,
        claims=claims,
        planned=_tree(desired, ordinal, revision, claims),
    )


def _stays_on_current(desired: StatefulSet, ordinal: int) -> bool:
    if desired.on_delete:
        return False
    below = desired.status.current_replicas if desired.partition is None else desired.partition
    return ordinal < desired.start + below


def _tree(desired: StatefulSet, ordinal: int, revision: Revision, claims: Mapping[str, str]) -> dict[str, Any]:
    template, name = revision.template, pod_name(desired, ordinal)
    labels = {**identity_labels(desired, ordinal), REVISION_LABEL: revision.name}
    metadata = pod_metadata(template, desired.namespace, desired.owner, labels)
    metadata |= {"name": name, "generateName": f"{desired.name}-"}
    spec = {**template["spec"], "hostname": name, "subdomain": desired.service}
    if not desired.service:
        del spec["subdomain"]
    volumes = [{"name": volume, "persistentVolumeClaim": {"claimName": claim}} for volume, claim in claims.items()]
    volumes += [volume for volume in template["spec"].get("volumes") or () if volume["name"] not in claims]
    if volumes:
        spec["volumes"] = volumes
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
