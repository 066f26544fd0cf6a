"""All volumes of one pod: made before its containers, kept fresh while it lives, removed after them.

Source: `node` sections 8.1 to 8.7.
"""

import asyncio
import logging
import os
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from homeport.api.scalars import quantity_value
from homeport.client.contract import Client
from homeport.clock import Clock
from homeport.errors import ApiError
from homeport.node.environment import Facts, Objects
from homeport.node.files import make_directory
from homeport.node.pod import Pod
from homeport.node.volumes.atomic import write_atomically
from homeport.node.volumes.claims import claim_name, resolve_claim
from homeport.node.volumes.failure import VolumeFailure
from homeport.node.volumes.hostpath import prepare_host_path
from homeport.node.volumes.ids import IdMaps
from homeport.node.volumes.mounts import Mounts
from homeport.node.volumes.ownership import give_to_group
from homeport.node.volumes.payload import File, common_user, payload, token_places
from homeport.node.volumes.tokens import PodTokens

__all__ = ["PodVolumes", "Volume", "VolumesFailed"]

Tree: TypeAlias = Mapping[str, Any]

ATOMIC: Final = {
    "configMap": "kubernetes.io~configmap",
    "secret": "kubernetes.io~secret",
    "downwardAPI": "kubernetes.io~downward-api",
    "projected": "kubernetes.io~projected",
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume as a host path; `read_only` holds for every mount of it, whatever the mount says."""

    name: str
    path: Path
    read_only: bool = False


class VolumesFailed(Exception):
    """Some volumes cannot be set up now: name → why."""

    def __init__(self, failures: Mapping[str, str]) -> None:
        super().__init__("; ".join(failures.values()))
        self.failures = failures


class PodVolumes:
    """The volumes of one pod: below `root`, in memory, those made of objects; below `storage`, on disk, empty ones."""

    def __init__(
        self,
        root: Path,
        storage: Path,
        client: Client,
        objects: Objects,
        mounts: Mounts,
        clock: Clock,
        rng: random.Random,
        ids: IdMaps,
    ) -> None:
        self.root, self.storage = root, storage
        self._client, self._objects, self._mounts = client, objects, mounts
        self._clock, self._rng = clock, rng
        self._ids = ids
        self._tokens = PodTokens(client, clock, rng)
        self.volumes: dict[str, Volume] = {}

    async def set_up(self, pod: Pod, facts: Facts) -> None:
        """Make what is missing, side by side; raises VolumesFailed naming each that could not be made."""
        wanted = [volume for volume in pod.spec.get("volumes") or () if volume["name"] not in self.volumes]
        failures: dict[str, str] = {}

        async def one(volume: Tree) -> None:
            try:
                self.volumes[volume["name"]] = await self._set_up(pod, volume, facts)
            except (VolumeFailure, ApiError, OSError) as error:
                failures[volume["name"]] = str(error)

        async with asyncio.TaskGroup() as group:
            for volume in wanted:
                group.create_task(one(volume))
        if failures:
            raise VolumesFailed(failures)

    @property
    def refresh_at(self) -> float | None:
        """The epoch second at which a token is due, None for none."""
        return self._tokens.refresh_at

    async def refresh(self, pod: Pod, facts: Facts) -> None:
        """Bring atomic volumes up to date.

        A source that is missing now leaves what was there; an optional one empties its part.
        """
        for volume in pod.spec.get("volumes") or ():
            kind = next((kind for kind in ATOMIC if volume.get(kind) is not None), None)
            known = self.volumes.get(volume["name"])
            if kind is None or known is None:
                continue
            try:
                await self._write(pod, volume, known.path, facts)
            except (VolumeFailure, ApiError, OSError) as error:
                _log.info("pod %s: volume %s stays as it is: %s", pod, volume["name"], error)

    async def tear_down(self) -> None:
        """Unmount everything of the pod and remove its directory, never anything behind a mount."""
        await asyncio.to_thread(self._remove)
        self.volumes.clear()

    def _remove(self) -> None:
        for directory in (self.root, self.storage):
            remove_pod_directory(directory, self._mounts)

    async def _set_up(self, pod: Pod, volume: Tree, facts: Facts) -> Volume:
        name = volume["name"]
        group = self._fs_group(pod)
        if (empty := volume.get("emptyDir")) is not None:
            if str(empty.get("medium") or "").startswith("HugePages"):
                raise VolumeFailure("huge pages are not supported by this node")
            in_memory = empty.get("medium") == "Memory"
            path = _directory(self.root if in_memory else self.storage, "kubernetes.io~empty-dir", name)
            if in_memory:
                self._mounts.tmpfs(path, _bytes(empty.get("sizeLimit")), 0o777)
            path.chmod(0o777)
            if group is not None:
                give_to_group(path, group)
            return Volume(name, path)
        if (host := volume.get("hostPath")) is not None:
            path = Path(host["path"])
            prepare_host_path(path, host.get("type") or "")
            return Volume(name, path)
        if (claim := claim_name(pod, volume)) is not None:
            return await self._claimed(pod, volume, claim, group)
        kind = next((kind for kind in ATOMIC if volume.get(kind) is not None), None)
        if kind is None:
            raise VolumeFailure(f"no volume plugin matched {', '.join(key for key in volume if key != 'name')}")
        path = _directory(self.root, ATOMIC[kind], name)
        path.chmod(0o755)
        for where, request in token_places(volume):
            self._tokens.adopt(pod, request, _text(path / where))
        await self._write(pod, volume, path, facts)
        return Volume(name, path, read_only=True)

    async def _claimed(self, pod: Pod, volume: Tree, claim: str, group: int | None) -> Volume:
        found = await resolve_claim(self._client, pod, volume, claim)
        if group is not None and found.owned and not found.read_only:
            policy = (pod.spec.get("securityContext") or {}).get("fsGroupChangePolicy")
            walk = partial(give_to_group, found.path, group, only_on_mismatch=policy == "OnRootMismatch")
            await asyncio.to_thread(walk)
        return Volume(volume["name"], found.path, found.read_only)

    def _fs_group(self, pod: Pod) -> int | None:
        return self._ids.group((pod.spec.get("securityContext") or {}).get("fsGroup"))

    async def _write(self, pod: Pod, volume: Tree, path: Path, facts: Facts) -> None:
        tokens = {request: await self._tokens.get(pod, request) for _, request in token_places(volume)}
        files: Mapping[str, File] = payload(pod, volume, self._objects, facts, tokens)
        group = self._fs_group(pod)
        owner = self._ids.user(common_user(pod)) if tokens and group is None else None
        stamp = f"{int(self._clock.now() * 1000)}.{self._rng.getrandbits(32):08x}"
        write_atomically(path, files, stamp, group=group, owner=owner)


def _directory(root: Path, plugin: str, name: str) -> Path:
    return Path(make_directory(os.fspath(root), "volumes", plugin, name, mode=0o750))


def remove_pod_directory(root: Path, mounts: Mounts) -> None:
    """Remove a pod's directory once nothing is mounted below it; raises OSError when something still is."""
    if not root.exists():
        return
    mounts.unmount_below(root)
    shutil.rmtree(root)


def _text(path: Path) -> str:
    """Return what a file holds, nothing where there is none."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _bytes(text: str | None) -> int | None:
    return int(quantity_value(text)) if text else None
