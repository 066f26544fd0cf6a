"""Creating and deleting pods for an owner, with the events upstream tells of them. Source: `workloads` 8.4."""

from typing import Final

from homeport.api.resources import find
from homeport.client.contract import Object
from homeport.client.informer import Informer, Key
from homeport.controllers.outcome import namespace_is_terminating
from homeport.controllers.workload import FAILURES, Workload

__all__ = ["PODS", "PodControl"]

PODS: Final = find("Pod")


class PodControl:
    """Asks for pods and for their end on behalf of a workload's objects."""

    def __init__(self, workload: Workload, pods: Informer) -> None:
        self._workload, self._pods = workload, pods

    async def create(self, key: Key, obj: Object, body: Object) -> bool:
        """Create a pod; return whether it was, as it is not where the namespace is going away. Raises FAILURES."""
        workload = self._workload
        try:
            written = await workload.client.create(PODS, body)
        except FAILURES as error:
            if namespace_is_terminating(error):
                return False  # whatever is created there would go at once
            workload.events.warning(obj, "FailedCreate", f"Error creating: {error}")
            raise
        workload.writes.wrote(key, self._pods, written)
        workload.events.normal(obj, "SuccessfulCreate", f"Created pod: {written['metadata']['name']}")
        return True

    async def delete(self, key: Key, obj: Object, name: str, uid: str) -> None:
        """Ask for a pod's end; one that is gone already counts as done. Raises FAILURES."""
        await self._workload.delete(key, obj, self._pods, name, uid, done="Deleted pod:", failed="Error deleting")
