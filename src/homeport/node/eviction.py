"""Limits that are looked after, not enforced by the kernel: emptyDir volumes that outgrow their `sizeLimit`.

Source: `node` sections 8.2 and 15.2.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from homeport.api.scalars import quantity_value
from homeport.node.lifecycle import Waiting
from homeport.node.pod import Pod
from homeport.node.worker import PodWorker

__all__ = ["Evictions", "bytes_below", "limited_volumes"]

CHECK_SECONDS: Final = 10.0
GRACE_SECONDS: Final = 1
BLOCK_BYTES: Final = 512


def limited_volumes(pod: Pod) -> Mapping[str, str]:
    """Return the disk emptyDir volumes that have a limit: name → the limit as written."""
    found: dict[str, str] = {}
    for volume in pod.spec.get("volumes") or ():
        empty: Mapping[str, Any] = volume.get("emptyDir") or {}
        if empty.get("sizeLimit") and not empty.get("medium"):
            found[volume["name"]] = str(empty["sizeLimit"])
    return found


def bytes_below(root: Path) -> int:
    """Return the disk space a tree takes; links are not followed, what vanishes meanwhile counts nothing."""
    total = 0
    for folder, _, files in os.walk(root):
        for name in files:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * BLOCK_BYTES
            except FileNotFoundError:
                continue
    return total


class Evictions:
    """Looks at all pods every ten seconds, and ends those that took too much."""

    def __init__(self, workers: Callable[[], Iterable[PodWorker]]) -> None:
        self._workers = workers

    async def run(self) -> None:
        """Look for ever; ends by cancellation only."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            for worker in list(self._workers()):
                for name, limit in limited_volumes(worker.pod).items():
                    volume = worker.preparation.volumes.volumes.get(name)
                    if volume is None:
                        continue
                    used = await asyncio.to_thread(bytes_below, volume.path)
                    if used > quantity_value(limit):
                        message = f'Usage of EmptyDir volume "{name}" exceeds the limit "{limit}". '
                        worker.evict(Waiting("Evicted", message), GRACE_SECONDS)
