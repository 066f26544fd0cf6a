"""Getting a container its image: policies, back-off, events in the words users know. Source: `node` section 12.2, 12.3.

Pulls of one reference that overlap share one download; pulls of different ones do not wait for each other.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from homeport.clock import Clock
from homeport.durations import format_duration
from homeport.node.backoff import Backoff
from homeport.node.events import PodEvents
from homeport.node.lifecycle import Waiting
from homeport.node.pod import ContainerDef, Pod
from homeport.node.runtime.contract import Image, ImageError, Images

__all__ = ["ImagePuller", "ImageUnavailable"]


class ImageUnavailable(Exception):
    """No image now: `waiting` is for the status, `retry_at` (epoch seconds) when to ask again."""

    def __init__(self, waiting: Waiting, retry_at: float) -> None:
        super().__init__(waiting.message)
        self.waiting, self.retry_at = waiting, retry_at


RETRY_SECONDS = 10.0


def _remark(image: Image) -> str:
    """Return what is worth knowing about an image that stands in for the one asked for."""
    return f" ({image.note})" if image.note else ""


class ImagePuller:
    """Images for all pods of the node."""

    def __init__(self, images: Images, clock: Clock) -> None:
        self._images, self._clock = images, clock
        self._pulling: dict[str, asyncio.Task[Image]] = {}
        self._failures: dict[tuple[str, str], tuple[Backoff, str, float]] = {}

    def forget(self, pod_uid: str) -> None:
        """Drop the back-off of a pod that is gone."""
        for key in [key for key in self._failures if key[0] == pod_uid]:
            del self._failures[key]

    async def ensure(self, pod: Pod, container: ContainerDef, events: PodEvents) -> Image:
        """Return the container's image by its pull policy; raises ImageUnavailable."""
        reference = container.image
        try:
            found = None if container.pull_policy == "Always" else await self._images.find(reference)
        except ImageError as error:
            text = f'Failed to apply default image tag "{reference}": {error.message}'
            events.warning("InspectFailed", text, container)
            events.warning("Failed", f"Error: {error.reason}", container)
            raise self._unavailable(error.reason, text) from error
        if found is not None:
            text = f'Container image "{reference}" already present on machine and can be accessed by the pod'
            events.normal("Pulled", text + _remark(found), container)
            return found
        if container.pull_policy == "Never":
            text = f'Container image "{reference}" is not present with pull policy of Never'
            events.warning("ErrImageNeverPull", text, container)
            events.warning("Failed", "Error: ErrImageNeverPull", container)
            raise self._unavailable("ErrImageNeverPull", text)
        return await self._pull(pod, container, events)

    def _unavailable(self, reason: str, message: str) -> ImageUnavailable:
        return ImageUnavailable(Waiting(reason, message), self._clock.now() + RETRY_SECONDS)

    async def _pull(self, pod: Pod, container: ContainerDef, events: PodEvents) -> Image:
        reference = container.image
        key = (pod.uid, reference)
        backoff, failure, failed_at = self._failures.get(key, (Backoff(), "", 0.0))
        now = self._clock.now()
        if left := backoff.remaining(failed_at, now):
            events.normal("BackOff", f'Back-off pulling image "{reference}"', container)
            events.warning("Failed", "Error: ImagePullBackOff", container)
            text = f'Back-off pulling image "{reference}": {failure}'
            raise ImageUnavailable(Waiting("ImagePullBackOff", text), now + left)
        events.normal("Pulling", f'Pulling image "{reference}"', container)
        try:
            image = await self._shared(reference, lambda: self._images.pull(reference))
        except ImageError as error:
            failed_at = self._clock.now()
            self._failures[key] = (backoff.next(failed_at, failed_at), f"{error.reason}: {error.message}", failed_at)
            events.warning("Failed", f'Failed to pull image "{reference}": {error.message}', container)
            events.warning("Failed", f"Error: {error.reason}", container)
            raise ImageUnavailable(Waiting(error.reason, error.message), failed_at) from error
        took = format_duration(self._clock.now() - now)
        self._failures.pop(key, None)
        events.normal(
            "Pulled",
            f'Successfully pulled image "{reference}" in {took} ({took} including waiting). '
            f"Image size: {image.size_bytes} bytes.{_remark(image)}",
            container,
        )
        return image

    async def _shared(self, reference: str, pull: Callable[[], Coroutine[Any, Any, Image]]) -> Image:
        """Await the download under way, or begin one. It goes on while anybody waits for it."""
        task = self._pulling.get(reference)
        if task is None:
            task = self._pulling[reference] = asyncio.create_task(pull())
            task.add_done_callback(lambda _: self._pulling.pop(reference, None))
        return await asyncio.shield(task)
