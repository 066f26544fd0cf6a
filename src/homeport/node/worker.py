"""One pod from its first sight to its end: the shell around `lifecycle` and `status`.

One task per pod. Sandbox and volumes are prepared side by side; then `plan` is asked after every change and its answer
performed. A change is an exit, a verdict of a probe, a new form of the pod, an object it refers to, or time. At the
end everything is stopped in order, the terminal status published, what the pod held let go, and the object removed.
Cancellation, which is how the agent stops, disturbs nothing that runs. Source: `node` sections 2 to 5.
"""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Coroutine, Mapping
from typing import Any, Final

from homeport.api.resources import find
from homeport.client.contract import Object
from homeport.errors import ApiError, Conflict, NotFound
from homeport.node.adoption import Adopted
from homeport.node.assembly import termination_file
from homeport.node.context import NodeContext
from homeport.node.ending import Ending
from homeport.node.events import PodEvents
from homeport.node.last_words import read_last_words
from homeport.node.launch import Cancelled, Launch, launch
from homeport.node.lifecycle import ContainerState, Plan, Stop, Waiting, may_restart, plan
from homeport.node.pod import ContainerDef, Pod, RestartPolicy, renewed
from homeport.node.preparation import Preparation
from homeport.node.probing import Probing
from homeport.node.records import ContainerRecords, Live
from homeport.node.reporter import StatusReporter
from homeport.node.runtime.contract import Exit
from homeport.node.status import TERMINAL, Observation, active_since, is_starting, pod_status

__all__ = ["PodWorker"]

PODS: Final = find("Pod")
RETRY_SECONDS: Final = 1.0
KILLED_CODE: Final = 137

_log = logging.getLogger(__name__)


class PodWorker:
    """The worker of one pod (one uid). `rejection` is why the node refuses it, None when it is welcome."""

    def __init__(self, context: NodeContext, pod: Pod, adopted: Adopted, rejection: Waiting | None = None) -> None:
        self.context = context
        self.pod = pod
        self.gone = asyncio.Event()
        self._ending = asyncio.Event()
        self._wake = asyncio.Event()
        self._rejection = rejection
        self._verdict = rejection
        self._verdict_grace: int | None = None
        self._terminated = False
        self._released = False
        self._restarting_all = False
        self._waiting: Mapping[str, Waiting] = {}
        self._check_sandbox = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._group: asyncio.TaskGroup
        self._started_at = active_since(self.pod.status) or context.clock.now()
        self._saved_states: Mapping[str, ContainerState] = {}
        self._was_over = self.pod.status.get("phase") in TERMINAL and not adopted.states
        self.events = PodEvents(context.recorder, lambda: self.pod)
        self.records = ContainerRecords(self._containers_changed, self._last_words)
        self.preparation = Preparation(
            context,
            lambda: self.pod,
            self.events,
            self._surroundings_changed,
            adopted.sandbox,
            adopted.next_sandbox_attempt,
        )
        addresses = lambda: self.preparation.addresses  # noqa: E731
        self.probing = Probing(context, lambda: self.pod, self.records, self.events, addresses, self._ending)
        self.ending = Ending(context, lambda: self.pod, self.records, self.events, addresses)
        self.reporter = StatusReporter(
            context.client, pod.tree, self._status, context.patience, lambda: is_starting(self.pod, self._seen())
        )
        self.records.adopt(adopted.states, adopted.live)
        for exit in adopted.exits:
            self.records.exited(exit)
        self._lost = adopted.sandbox_lost

    # What the agent tells

    def update(self, tree: Object) -> None:
        """The pod has a newer form; one that shows nothing but the status last written here is no news."""
        before, self.pod = self.pod, renewed(self.pod, tree)
        own = self.reporter.observe(tree)
        if self.pod.deleting:
            self.ending.shorten(self._deletion_grace())
        if not own or tree["spec"] != before.spec or _facts(tree) != _facts(before.tree):
            self._changed()

    def removed(self) -> None:
        """The object is gone from the API: end whatever is left of it, quickly."""
        self.reporter.gone = True
        self.gone.set()
        self.ending.shorten(1.0)
        self._changed()

    def exited(self, exit: Exit) -> None:
        self._check_sandbox = self._check_sandbox or exit.code == KILLED_CODE
        self.records.exited(exit)

    def evict(self, verdict: Waiting, grace: int | None = None) -> None:
        """End the pod for the node's own reasons: phase Failed with this reason and message."""
        if self._verdict is None and not self._terminated:
            self.events.warning(verdict.reason, verdict.message)
            self._verdict, self._verdict_grace = verdict, grace
            self._changed()

    def live_container(self, name: str) -> Live | None:
        """Return the running instance of a container."""
        running = self.records.get(name).running
        return self.records.live.get(running.container_id) if running else None

    def is_waiting(self, name: str) -> bool:
        """Whether a container that ended is shown as waiting for its next start."""
        return name in self._waiting or self.records.get(name).waiting is not None

    # The main line

    async def run(self) -> None:
        """Serve the pod until its object is gone and nothing of it is left on the node."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            reporter = group.create_task(self.reporter.run())
            self._changed()
            if self._rejection is None and not self._was_terminal():
                await self._live()
            await self._end()
            await self._let_go()
            await self._leave()
            reporter.cancel()

    def _was_terminal(self) -> bool:
        return self.pod.status.get("phase") in TERMINAL and not self.ending.running()

    async def _live(self) -> None:
        """Keep the pod as its spec wants it, until it must end."""
        if self._lost and not self._begin_anew():
            return
        preparing = self._spawn(self.preparation.run())
        seen = self.pod
        while not self._must_end():
            if self.pod is not seen:
                seen = self.pod
                await self.preparation.pod_changed()
            if self._check_sandbox and await self._sandbox_died():
                preparing.cancel()
                preparing = self._spawn(self.preparation.run())
            wake_at = self._deadline_at()
            if self.preparation.ready and not self._restarting_all:
                step = plan(self.pod, self.records.states, self.context.clock.now())
                if step.finished:
                    break
                self._perform(step)
                wake_at = min((at for at in (step.wake_at, wake_at) if at is not None), default=None)
            self._save()
            await self._pause(wake_at)
        preparing.cancel()

    def _must_end(self) -> bool:
        deadline = self._deadline_at()
        if self._verdict is None and deadline is not None and deadline <= self.context.clock.now():
            message = "Pod was active on the node longer than the specified deadline"
            self.events.normal("DeadlineExceeded", message)
            self._verdict = Waiting("DeadlineExceeded", message)
        return self.pod.deleting or self.gone.is_set() or self._verdict is not None

    def _deadline_at(self) -> float | None:
        return None if self.pod.deadline is None else self._started_at + self.pod.deadline

    def _perform(self, step: Plan) -> None:
        if step.restart_all:
            self._restarting_all = True
            self._spawn(self._restart_all())
        for name, waiting in step.waiting.items():
            container = self.pod.find(name)
            if self._waiting.get(name) != waiting and container is not None:
                text = f"Back-off restarting failed container {name} in pod {self.pod}"
                self.events.warning("BackOff", text, container)
        if self._waiting != step.waiting:
            self._waiting = step.waiting
            self.reporter.wake()
        for name in step.start:
            container = self.pod.find(name)
            if container is not None:
                self.records.busy(name, True)
                self._spawn(self._start(container))
        for stop in step.stop:
            live = self.live_container(stop.name)
            if live is not None:
                self.records.busy(stop.name, True)
                self._spawn(self._restart(live, stop))
        self.probing.tend(self._group)

    async def _start(self, container: ContainerDef) -> None:
        preparation = self.preparation
        assert preparation.sandbox is not None
        job = Launch(
            self.context,
            self.pod,
            self.records,
            self.events,
            preparation.sandbox.id,
            preparation.addresses,
            preparation.identity,
            preparation.volumes.volumes,
            self._ending,
            self.ending.stop,
        )
        try:
            await launch(job, container)
        except Cancelled:
            _log.debug("pod %s ends while %s was starting", self.pod, container.name)
        finally:
            self.records.busy(container.name, False)
        waiting = self.records.get(container.name).waiting
        if waiting is not None and waiting.reason == "CreateContainerError":
            self._check_sandbox = True
        for container_id in self.records.dead_ids(container.name):
            await self.context.runtime.remove_container(container_id)
            self._forget(container, container_id)

    def _forget(self, container: ContainerDef, container_id: str) -> None:
        attempt = self.records.live[container_id].attempt
        self.records.forget(container_id)
        settings = self.context.settings
        directory = settings.pod_directory(self.pod.uid)
        termination_file(directory, container.name, container_id).unlink(missing_ok=True)
        settings.log_path(self.pod, container.name, attempt).unlink(missing_ok=True)

    async def _restart(self, live: Live, stop: Stop) -> None:
        """Stop one instance so that the next plan starts another."""
        if stop.forced:
            self.records.force_restart(stop.name)
        await self.ending.stop(live, stop.message, stop.grace)
        self.records.busy(stop.name, False)

    async def _restart_all(self) -> None:
        """Restart the whole pod in its sandbox: kill the rest, then begin with the first init container."""
        self.reporter.wake()
        await self.ending.kill_all()
        self.records.begin_anew(lambda name, state: False, self.context.clock.now())
        self._restarting_all = False
        self.reporter.wake()

    async def _sandbox_died(self) -> bool:
        """Whether the sandbox is no more; then everything in it begins anew (`node` 2.3)."""
        self._check_sandbox = False
        sandbox = self.preparation.sandbox
        if sandbox is None:
            return False
        own = await self.context.runtime.sandboxes(("pod-uid", self.pod.uid))
        alive = any(one.id == sandbox.id and one.running for one in own)
        if alive or not self._begin_anew():
            return False
        self.preparation.sandbox_lost()
        await self.context.runtime.remove_sandbox(sandbox.id)
        await self.context.network.detach(sandbox.id)
        return True

    def _begin_anew(self) -> bool:
        """Take all containers as ended with their sandbox; returns False for a pod that never restarts."""
        if self.pod.restart_policy is RestartPolicy.NEVER:
            return False
        self.events.normal("SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        self.records.begin_anew(self._need_not_rerun, self.context.clock.now())
        return True

    def _need_not_rerun(self, name: str, state: ContainerState) -> bool:
        container = self.pod.find(name)
        if container is None or state.ended is None or container in self.pod.init:
            return False
        return state.ended.code == 0 and not may_restart(self.pod, container, 0)

    # The end

    def _deletion_grace(self) -> float:
        grace = self.pod.deletion_grace
        return float(self.pod.grace if grace is None else grace)

    async def _end(self) -> None:
        """Stop everything in order and publish the terminal status."""
        self._ending.set()
        await self._settle_starts()
        if self.gone.is_set():
            grace = 1.0
        elif self.pod.deleting:
            grace = self._deletion_grace()
        else:
            grace = float(self.pod.grace if self._verdict_grace is None else self._verdict_grace)
        self.probing.tend(self._group)
        await self.ending.stop_all(grace)
        self.probing.stop()
        self._terminated = True
        self._save()
        await self.reporter.flush()

    async def _settle_starts(self) -> None:
        """Wait for what is being started: it either runs afterwards, and is stopped, or never will."""
        while starting := {task for task in self._tasks if not task.done()}:
            await asyncio.wait(starting)
        await self.preparation.settle()

    async def _let_go(self) -> None:
        """Release what the pod held, again and again until it is released."""
        while True:
            try:
                await self._release()
            except OSError as error:
                self.events.warning("FailedKillPod", f"error killing pod: {error}")
                await asyncio.sleep(RETRY_SECONDS)
            else:
                break
        self._released = True
        self.context.objects.release(self.pod.uid)
        self.context.images.forget(self.pod.uid)
        await self.reporter.flush()

    async def _release(self) -> None:
        """Ask the runtime what it has of the pod, not our records: nothing may be left of any attempt."""
        runtime, uid = self.context.runtime, self.pod.uid
        for sandbox in await runtime.sandboxes(("pod-uid", uid)):
            await runtime.remove_sandbox(sandbox.id)
            await self.context.network.detach(sandbox.id)
        self.preparation.sandbox = None
        for container in await runtime.containers(("pod-uid", uid)):
            await runtime.remove_container(container.id)
        await self.preparation.volumes.tear_down()
        self.context.checkpoints.forget(uid)

    async def _leave(self) -> None:
        """Wait until the object's end is wanted, remove it, and wait until it is gone."""
        while not (self.pod.deleting or self.gone.is_set()):
            await self._pause(None)
        while not self.gone.is_set():
            try:
                await self.context.client.delete(
                    PODS, self.pod.namespace, self.pod.name, uid=self.pod.uid, grace_seconds=0
                )
            except (NotFound, Conflict):
                break
            except (ApiError, OSError) as error:
                _log.info("pod %s not removed: %s", self.pod, error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                break
        await self.gone.wait()
        shutil.rmtree(self.context.settings.log_directory(self.pod), ignore_errors=True)

    # What the parts need

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: self._wake.set())
        return task

    def _changed(self) -> None:
        self._wake.set()
        self.reporter.wake()

    def _containers_changed(self, shown: bool) -> None:
        self._wake.set()
        if shown:
            self.reporter.wake()

    def _surroundings_changed(self) -> None:
        self.records.retry_configuration()
        self._changed()

    async def _pause(self, wake_at: float | None) -> None:
        """Wait for a change, or for epoch second `wake_at`."""
        if wake_at is None:
            await self._wake.wait()
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, wake_at - self.context.clock.now())):
                    await self._wake.wait()
        self._wake.clear()

    def _status(self, known: Mapping[str, Any]) -> Mapping[str, Any]:
        if self._was_over:
            return known  # all there is to know is in it
        return pod_status(self.pod, self._seen(), known, self.context.clock.now())

    def _seen(self) -> Observation:
        preparation = self.preparation
        states = self.records.states
        if self._terminated and not self.pod.deleting and not self._rejection:
            states = {name: state._replace(waiting=None) if state.ended else state for name, state in states.items()}
        return Observation(
            containers=states,
            waiting={} if self._terminated else self._waiting,
            started_at=self._started_at,
            host_ips=self.context.host_ips,
            pod_ips=preparation.addresses,
            sandbox_ready=preparation.shown_ready and not self._released,
            terminated=self._terminated,
            verdict=self._verdict,
            rejected=self._rejection is not None,
            restarting_all=self._restarting_all,
            runtime_name=self.context.runtime.name,
        )

    def _last_words(self, container: ContainerDef, container_id: str, exit: Exit) -> str:
        live = self.records.live[container_id]
        settings = self.context.settings
        return read_last_words(
            termination_file(settings.pod_directory(self.pod.uid), container.name, container_id),
            settings.log_path(self.pod, container.name, live.attempt),
            from_log=exit.code != 0 and container.tree.get("terminationMessagePolicy") == "FallbackToLogsOnError",
        )

    def _save(self) -> None:
        """Write down what a later agent could not learn from the runtime."""
        states = self.records.states
        if (self.preparation.ready or self._terminated) and states != self._saved_states:
            self._saved_states = dict(states)
            self.context.checkpoints.save(self.pod.uid, states)


def _facts(tree: Object) -> Mapping[str, Any]:
    """Return the metadata of a pod without its version."""
    return {**tree["metadata"], "resourceVersion": ""}
