"""Starting one container: image, configuration, instance, postStart hook. Source: `node` sections 1.4, 3.1, 4.1."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from homeport.node.assembly import Assembly, assemble, image_id
from homeport.node.context import NodeContext
from homeport.node.environment import ConfigError
from homeport.node.events import PodEvents
from homeport.node.fields import UnknownField
from homeport.node.handlers import Target, run_hook
from homeport.node.lifecycle import Waiting
from homeport.node.pod import ContainerDef, Pod
from homeport.node.pulling import ImageUnavailable
from homeport.node.records import ContainerRecords, Live
from homeport.node.runtime.contract import ContainerSpec, Image, RuntimeFailure
from homeport.node.volumes.pod_volumes import Volume

__all__ = ["Cancelled", "Launch", "launch", "unless"]

RETRY_SECONDS: Final = 10.0
STARTED_AND_DIED: Final = ("RunContainerError", "StartError", "ContainerCannotRun")

T = TypeVar("T")


class Cancelled(Exception):
    """The pod is being ended; what was going on does not matter any more."""


async def unless(ending: asyncio.Event, work: Awaitable[T]) -> T:
    """Await `work` unless `ending` is set first; then cancel it and raise Cancelled."""
    task, stop = asyncio.ensure_future(work), asyncio.ensure_future(ending.wait())
    try:
        await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Cancelled
    finally:
        stop.cancel()
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@dataclass(frozen=True, slots=True)
class Launch:
    """Where and with what a pod's containers are started."""

    context: NodeContext
    pod: Pod
    records: ContainerRecords
    events: PodEvents
    sandbox_id: str
    pod_ips: Sequence[str]
    identity: Mapping[str, str]
    volumes: Mapping[str, Volume]
    ending: asyncio.Event
    stop: Callable[[Live, str, int | None], Awaitable[None]]


async def launch(job: Launch, container: ContainerDef) -> None:
    """Start one container; whatever happens is recorded, and told as events. Raises Cancelled."""
    image = await _image(job, container)
    if image is None:
        return
    spec = _spec(job, container, image)
    if spec is None:
        return
    live = await _create(job, container, spec)
    if live is not None:
        await _post_start(job, container, live)


async def _image(job: Launch, container: ContainerDef) -> Image | None:
    try:
        return await unless(job.ending, job.context.images.ensure(job.pod, container, job.events))
    except ImageUnavailable as failure:
        job.records.unavailable(container.name, failure.waiting, failure.retry_at)
        return None


def _spec(job: Launch, container: ContainerDef, image: Image) -> ContainerSpec | None:
    place = Assembly(
        f"{job.context.rng.getrandbits(256):064x}",
        job.sandbox_id,
        job.records.next_attempt(container.name),
        job.pod_ips,
        job.identity,
    )
    try:
        return assemble(job.context, job.pod, container, image, job.volumes, place)
    except (ConfigError, UnknownField) as error:
        _failed(job, container, Waiting("CreateContainerConfigError", str(error)))
    except RuntimeFailure as failure:
        _failed(job, container, Waiting(failure.reason, failure.message))
    except OSError as error:
        _failed(job, container, Waiting("CreateContainerError", str(error)))
    return None


def _failed(job: Launch, container: ContainerDef, waiting: Waiting) -> None:
    job.events.warning("Failed", f"Error: {waiting.message}", container)
    job.records.unavailable(container.name, waiting, job.context.clock.now() + RETRY_SECONDS)


async def _create(job: Launch, container: ContainerDef, spec: ContainerSpec) -> Live | None:
    records, now = job.records, job.context.clock.now()
    live = records.expect(container, spec.id, int(spec.labels["attempt"]))
    live.stop_signal = spec.image.stop_signal
    records.begin(container, now)
    try:
        started = await job.context.runtime.start_container(spec)
    except RuntimeFailure as failure:
        waiting = Waiting(failure.reason, failure.message)
        if failure.reason in STARTED_AND_DIED:
            job.events.normal("Created", "Container created", container)
            job.events.warning("Failed", f"Error: {failure.message}", container)
            records.start_failed(live, Waiting("RunContainerError", failure.message), job.context.clock.now())
        else:
            records.never_created(live.container_id)
            _failed(job, container, waiting)
        return None
    job.events.normal("Created", "Container created", container)
    job.events.normal("Started", "Container started", container)
    records.started(live, started, spec.image.reference, image_id(spec.image))
    return live


async def _post_start(job: Launch, container: ContainerDef, live: Live) -> None:
    """Run the hook; a failing one ends the container (`node` 4.1)."""
    if container.post_start is None:
        job.records.hooked(live.container_id)
        return
    context = job.context
    address = job.pod_ips[0] if job.pod_ips else ""
    target = Target(
        context.runtime, context.reach, container, live.container_id, address, context.settings.short_version, {}
    )
    if await unless(job.ending, run_hook(container.post_start, target)):
        job.records.hooked(live.container_id)
        return
    job.events.warning("FailedPostStartHook", "PostStartHook failed", container)
    await job.stop(live, "FailedPostStartHook", None)
    job.records.hook_failed(container.name, Waiting("PostStartHookError", "PostStartHook failed"))
