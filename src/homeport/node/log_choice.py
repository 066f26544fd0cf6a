"""Which instance's log a request means, or why there is none. Source: `node` section 13.2."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from homeport.node.pod import Pod
from homeport.node.worker import PodWorker

__all__ = ["ChosenLog", "LogUnavailable", "choose_log"]


class LogUnavailable(Exception):
    """There is nothing to read; the text is the client's."""


@dataclass(frozen=True, slots=True)
class ChosenLog:
    """`ended` is set once the instance has ended; None when it has."""

    path: Path
    ended: asyncio.Event | None


_IMAGE_TEXTS = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}


def choose_log(worker: PodWorker, container: str, *, previous: bool) -> ChosenLog:
    """Return the log of the running instance, or the last one that ran; raises LogUnavailable.

    While a restart is delayed both that and `previous` mean the last dead instance, as upstream has it.
    """
    pod = worker.pod
    if pod.find(container) is None:
        raise LogUnavailable(f"container {container} is not valid for pod {pod.name}")
    state = worker.records.states.get(container)
    settings = worker.context.settings
    if state is None:
        attempt = _reported_attempt(pod, container)
        if attempt is not None:
            return ChosenLog(settings.log_path(pod, container, attempt), None)
    elif state.running is not None:
        if not previous:
            ended = worker.records.live[state.running.container_id].ended
            return ChosenLog(settings.log_path(pod, container, state.restart_count), ended)
        if state.previous is not None:
            return ChosenLog(settings.log_path(pod, container, state.restart_count - 1), None)
    elif state.ended is not None:
        delayed = worker.is_waiting(container)
        if not previous or delayed:
            return ChosenLog(settings.log_path(pod, container, state.restart_count), None)
        if state.previous is not None:
            return ChosenLog(settings.log_path(pod, container, state.restart_count - 1), None)
    if previous:
        raise LogUnavailable(f'previous terminated container "{container}" in pod "{pod.name}" not found')
    raise LogUnavailable(f'container "{container}" in pod "{pod.name}" is waiting to start: {_why(worker, container)}')


def _why(worker: PodWorker, container: str) -> str:
    state = worker.records.states.get(container)
    waiting = state.waiting if state else None
    if waiting is None:
        return "PodInitializing" if worker.pod.init else "ContainerCreating"
    return _IMAGE_TEXTS.get(waiting.reason, waiting.reason)


def _reported_attempt(pod: Pod, container: str) -> int | None:
    """Return what the status says of a pod that ended before this agent began."""
    for key in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for entry in pod.status.get(key) or ():
            if entry["name"] == container and entry.get("containerID"):
                return int(entry["restartCount"])
    return None
