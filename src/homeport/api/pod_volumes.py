"""Which claims a pod mounts, named or made for it.

Source: node 8.8 and 9 of the specification.
"""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["claim_names", "ephemeral_claim_name"]


def claim_names(pod: Mapping[str, Any]) -> Sequence[str]:
    """Return the names of the claims in a pod's volumes, those of its ephemeral volumes included."""
    names = []
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        if source := volume.get("persistentVolumeClaim"):
            names.append(source["claimName"])
        elif volume.get("ephemeral"):
            names.append(ephemeral_claim_name(pod, volume))
    return names


def ephemeral_claim_name(pod: Mapping[str, Any], volume: Mapping[str, Any]) -> str:
    """Return what the claim of an ephemeral volume is called: the pod's name, a dash, the volume's name."""
    return f"{pod['metadata']['name']}-{volume['name']}"
