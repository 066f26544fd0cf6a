"""From a pod's claim to a path on this node. Source: `node` sections 8.8 and 9."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from homeport.api.resources import find
from homeport.client.contract import Client
from homeport.errors import NotFound
from homeport.node.pod import Pod
from homeport.node.volumes.failure import VolumeFailure
from homeport.node.volumes.hostpath import prepare_host_path

__all__ = ["ClaimedVolume", "claim_name", "resolve_claim"]

CLAIMS: Final = find("PersistentVolumeClaim")
VOLUMES: Final = find("PersistentVolume")

Tree: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ClaimedVolume:
    """Where the data is; `owned` volumes take part in fsGroup."""

    path: Path
    read_only: bool
    owned: bool


def claim_name(pod: Pod, volume: Tree) -> str | None:
    """Return the name of the claim a volume stands for, None when it is of another kind."""
    if (source := volume.get("persistentVolumeClaim")) is not None:
        return str(source["claimName"])
    return f"{pod.name}-{volume['name']}" if volume.get("ephemeral") is not None else None


async def resolve_claim(client: Client, pod: Pod, volume: Tree, name: str) -> ClaimedVolume:
    """Return where a bound claim's volume is; raises VolumeFailure, ApiError, OSError."""
    try:
        claim = await client.get(CLAIMS, pod.namespace, name)
    except NotFound as error:
        raise VolumeFailure(f'persistentvolumeclaim "{name}" not found') from error
    if volume.get("ephemeral") is not None and not _made_for(claim, pod):
        raise VolumeFailure(
            f"PVC {pod.namespace}/{name} was not created for pod {pod.namespace}/{pod.name} (pod is not owner)"
        )
    bound = (claim.get("status") or {}).get("phase") == "Bound"
    if not bound or not claim["spec"].get("volumeName"):
        raise VolumeFailure(f'PVC "{name}" is not bound')
    persistent = await client.get(VOLUMES, None, claim["spec"]["volumeName"])
    if ((persistent["spec"].get("claimRef") or {}).get("uid")) != claim["metadata"]["uid"]:
        raise VolumeFailure(f'PV "{persistent["metadata"]["name"]}" is bound to another claim')
    read_only = bool((volume.get("persistentVolumeClaim") or {}).get("readOnly"))
    return _located(persistent, read_only)


def _made_for(claim: Tree, pod: Pod) -> bool:
    owners = claim["metadata"].get("ownerReferences") or ()
    return any(owner.get("controller") and owner.get("uid") == pod.uid for owner in owners)


def _located(persistent: Tree, read_only: bool) -> ClaimedVolume:
    spec = persistent["spec"]
    if (local := spec.get("local")) is not None:
        path = Path(local["path"])
        if not path.exists():
            raise VolumeFailure(f'path "{path}" does not exist')
        return ClaimedVolume(path, read_only, owned=True)
    if (host := spec.get("hostPath")) is not None:
        path = Path(host["path"])
        prepare_host_path(path, host.get("type") or "")
        return ClaimedVolume(path, read_only, owned=False)
    raise VolumeFailure(f'PV "{persistent["metadata"]["name"]}" has a source this node does not support')
