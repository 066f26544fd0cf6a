"""Events about one pod, as the agent records them: the recorder of `client.events` with the pod filled in."""

from collections.abc import Callable
from typing import Protocol

from homeport.client.contract import Object
from homeport.node.pod import ContainerDef, Pod

__all__ = ["PodEvents", "Recorder", "field_path"]


class Recorder(Protocol):
    """What `client.events.EventRecorder` is to us."""

    def normal(self, about: Object, reason: str, message: str, *, field_path: str = "") -> None: ...
    def warning(self, about: Object, reason: str, message: str, *, field_path: str = "") -> None: ...


def field_path(container: ContainerDef) -> str:
    """`spec.containers{web}`: which container an event is about."""
    return f"spec.{container.kind.list_name}{{{container.name}}}"


class PodEvents:
    """Records about one pod; `pod` gives its newest form."""

    def __init__(self, recorder: Recorder, pod: Callable[[], Pod]) -> None:
        self._recorder, self._pod = recorder, pod

    def normal(self, reason: str, message: str, container: ContainerDef | None = None) -> None:
        path = field_path(container) if container else ""
        self._recorder.normal(self._pod().tree, reason, message, field_path=path)

    def warning(self, reason: str, message: str, container: ContainerDef | None = None) -> None:
        path = field_path(container) if container else ""
        self._recorder.warning(self._pod().tree, reason, message, field_path=path)
