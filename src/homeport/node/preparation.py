"""What a pod needs before its first container: sandbox and volumes, made side by side and kept right afterwards."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from homeport.node.context import NodeContext
from homeport.node.events import PodEvents
from homeport.node.files import make_directory
from homeport.node.objects import references
from homeport.node.pod import Pod
from homeport.node.sandboxes import PodSandbox, SandboxFailed, make_sandbox, write_identity
from homeport.node.volumes.pod_volumes import PodVolumes, VolumesFailed

__all__ = ["Preparation"]

SANDBOX_RETRY_SECONDS: Final = 2.0
VOLUME_RETRY_SECONDS: Final = 0.5
VOLUME_RETRY_LIMIT_SECONDS: Final = 122.0
VOLUME_WAIT_SECONDS: Final = 123.0
REFRESH_SECONDS: Final = 60.0


class Preparation:
    """The pod's surroundings. `ready` once all of it is there; `changed` is called when that turns true.

    shown_ready   what the status says: an adopted sandbox counts from the start
    """

    def __init__(
        self,
        context: NodeContext,
        pod: Callable[[], Pod],
        events: PodEvents,
        changed: Callable[[], None],
        sandbox: PodSandbox | None,
        next_attempt: int,
    ) -> None:
        self._context, self._pod, self._events, self._changed = context, pod, events, changed
        self.sandbox = sandbox
        self.addresses: tuple[str, ...] = sandbox.addresses if sandbox else ()
        self.next_attempt = next_attempt
        self.identity: Mapping[str, str] = {}
        self.ready = False
        self.shown_ready = sandbox is not None  # what an earlier agent made is not reported lost while we look
        self._moved = asyncio.Event()
        self._seen = _visible(pod())
        self._attempt: asyncio.Task[PodSandbox] | None = None
        uid = pod().uid
        self.volumes = PodVolumes(
            context.settings.pod_directory(uid),
            context.settings.pod_storage(uid),
            context.client,
            context.objects,
            context.mounts,
            context.clock,
            context.rng,
            context.ids,
        )

    def object_changed(self) -> None:
        """A ConfigMap or Secret the pod refers to is not what it was."""
        self._moved.set()
        self._changed()

    def sandbox_lost(self) -> None:
        """The sandbox died: `run` again makes another."""
        self.sandbox, self._attempt, self.ready, self.shown_ready = None, None, False, False

    async def settle(self) -> None:
        """Once `run` was cancelled: let a sandbox that was being made come to be, so that it can be removed."""
        if self.sandbox is None and self._attempt is not None:
            with contextlib.suppress(SandboxFailed):
                self.sandbox = await self._attempt

    async def run(self) -> None:
        """Prepare, then keep volumes fresh; ends by cancellation only."""
        pod = self._pod()
        make_directory(os.fspath(self.volumes.root.parent), pod.uid, mode=0o750)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._make_sandbox())
            group.create_task(self._make_volumes())
        self.ready = self.shown_ready = True
        self._changed()
        await self._keep_fresh()

    async def _make_sandbox(self) -> None:
        while self.sandbox is None:
            try:
                self._attempt = asyncio.create_task(make_sandbox(self._context, self._pod(), self.next_attempt))
                self.sandbox = await asyncio.shield(self._attempt)
            except SandboxFailed as failure:
                self._events.warning("FailedCreatePodSandBox", f"Failed to create pod sandbox: {failure}")
                await asyncio.sleep(SANDBOX_RETRY_SECONDS)
            else:
                self.next_attempt += 1
        self.addresses = self.sandbox.addresses
        self.identity = write_identity(self._context, self._pod(), self.addresses, self._events)

    async def _make_volumes(self) -> None:
        pause, waited, complained = VOLUME_RETRY_SECONDS, 0.0, False
        pod = self._pod()
        await self._context.objects.hold(pod.uid, references(pod), self.object_changed)
        self._moved.clear()  # what came until now is seen in a moment
        while True:
            try:
                await self.volumes.set_up(self._pod(), self._context.facts(self.addresses))
            except VolumesFailed as failed:
                for name, why in failed.failures.items():
                    self._events.warning("FailedMount", f'MountVolume.SetUp failed for volume "{name}" : {why}')
                if waited >= VOLUME_WAIT_SECONDS and not complained:
                    complained = True
                    names = " ".join(sorted(failed.failures))
                    self._events.warning(
                        "FailedMount",
                        f"Unable to attach or mount volumes: unmounted volumes=[{names}], unattached volumes=[], "
                        f"failed to process volumes=[]: {failed}",
                    )
            else:
                return
            await self._moved_or(pause)
            waited += pause
            pause = min(2 * pause, VOLUME_RETRY_LIMIT_SECONDS)

    async def _keep_fresh(self) -> None:
        while True:
            due = self.volumes.refresh_at
            left = REFRESH_SECONDS if due is None else min(REFRESH_SECONDS, due - self._context.clock.now())
            await self._moved_or(max(1.0, left))
            await self.volumes.refresh(self._pod(), self._context.facts(self.addresses))

    async def pod_changed(self) -> None:
        """The pod has a newer form: labels and annotations show in volumes, and it may refer to other objects."""
        pod = self._pod()
        facts = _visible(pod)
        if facts == self._seen:
            return
        self._seen = facts
        await self._context.objects.hold(pod.uid, references(pod), self.object_changed)
        self._moved.set()

    async def _moved_or(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._moved.wait()
        except TimeoutError:
            pass
        self._moved.clear()


def _visible(pod: Pod) -> tuple[Any, ...]:
    """Return what of a pod its volumes may show or be made from: everything but its status."""
    metadata = pod.tree["metadata"]
    return metadata.get("labels"), metadata.get("annotations"), pod.spec
