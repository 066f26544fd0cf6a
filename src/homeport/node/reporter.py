"""Publishing a pod's status: newest state only, one request at a time per pod, nothing when nothing changed.

A report that says no more than that a pod is being started may wait a little: nearly always the pod runs before, and
one request says both. Upstream's agent, which looks at its containers once a second, merges them the same way.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from homeport.api.resources import find
from homeport.client.contract import Client, Object, PatchType
from homeport.errors import ApiError, Conflict, NotFound
from homeport.node.status import is_interim, status_patch

__all__ = ["StatusReporter"]

PODS: Final = find("Pod")
RETRY_SECONDS: Final = 1.0
RETRY_LIMIT_SECONDS: Final = 10.0

_log = logging.getLogger(__name__)

Compute = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Known status → the one to publish."""


class StatusReporter:
    """The status of one pod. `compute` is asked at the moment of writing, so bursts of changes become one write.

    patience  seconds an interim report may wait for a better one
    starting  whether the status would be interim, if the one known is
    """

    def __init__(
        self,
        client: Client,
        pod: Object,
        compute: Compute,
        patience: float = 0.0,
        starting: Callable[[], bool] = lambda: False,
    ) -> None:
        self._client, self._compute, self._patience, self._starting = client, compute, patience, starting
        metadata = pod["metadata"]
        self._namespace, self._name, self._uid = metadata["namespace"], metadata["name"], metadata["uid"]
        self._dirty, self._clean = asyncio.Event(), asyncio.Event()
        self._version = 0
        self.known: Mapping[str, Any] = {}
        self.gone = False
        self.observe(pod)

    def observe(self, pod: Object) -> bool:
        """Take in the pod as the API has it, unless what is known is newer; tell whether its status is no news."""
        version, status = int(pod["metadata"].get("resourceVersion") or 0), pod.get("status") or {}
        if version < self._version:
            return True
        known = version == self._version or status == self.known
        self._version, self.known = version, status
        return known

    def wake(self) -> None:
        """Something changed: publish soon."""
        self._clean.clear()
        self._dirty.set()

    async def flush(self) -> None:
        """Return once everything known up to now is published, or the pod is gone."""
        self._patience = 0.0  # whoever asks waits: from now on nothing does
        self.wake()
        await self._clean.wait()

    async def run(self) -> None:
        """Publish for ever; ends by cancellation only."""
        pause = RETRY_SECONDS
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            wanted, patch = await self._next()
            if patch is not None:
                try:
                    await self._send(patch)
                    pause = RETRY_SECONDS
                except (ApiError, OSError) as error:
                    _log.info("status of pod %s/%s not written: %s", self._namespace, self._name, error)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, RETRY_LIMIT_SECONDS)
                    self._dirty.set()
                if status_patch(self._uid, self.known, wanted) is not None:
                    self._dirty.set()  # somebody else wrote in between
            if not self._dirty.is_set():
                self._clean.set()

    async def _next(self) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
        """Return the status to publish, and the patch that does; None when there is nothing to write."""
        if self._patience and self._is_interim():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience):
                    while not self.gone and self._patience and self._is_interim():
                        await self._dirty.wait()
                        self._dirty.clear()
        wanted = self._compute(self.known)
        return wanted, None if self.gone else status_patch(self._uid, self.known, wanted)

    def _is_interim(self) -> bool:
        return self._starting() and is_interim(self.known)

    async def _send(self, patch: Mapping[str, Any]) -> None:
        try:
            answer = await self._client.patch(
                PODS, self._namespace, self._name, patch, kind=PatchType.STRATEGIC, subresource="status"
            )
        except NotFound:
            self.gone = True
            return
        except Conflict:  # another pod has its name now, or somebody wrote in between: look
            answer = await self._client.get(PODS, self._namespace, self._name)
            self.gone = answer["metadata"].get("uid") != self._uid
            raise
        if answer["metadata"].get("uid") == self._uid:
            self.observe(answer)
        else:
            self.gone = True
