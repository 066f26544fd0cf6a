"""Eviction: a deletion that asks the disruption budgets first (workloads 13.2, api-machinery 18.4)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from homeport.api import budgets
from homeport.api.exchange import User
from homeport.api.resources import find
from homeport.clock import rfc3339
from homeport.errors import ApiError, BadRequest, Conflict
from homeport.server.delete import Deleter, check_preconditions
from homeport.server.objects import Stored, Tree
from homeport.server.options import DeleteOptions, WriteOptions, delete_options
from homeport.server.services import Call, Services
from homeport.server.writes import Writer, fresh

__all__ = ["Evictions", "set_condition"]

_SYSTEM: Final = User("system:apiserver", groups=("system:masters", "system:authenticated"))
_TOO_MANY: Final = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."


class Evictions:
    """Takes pods away where their budget lets them go."""

    def __init__(self, services: Services, writer: Writer, deleter: Deleter) -> None:
        self._services, self._writer, self._deleter = services, writer, deleter
        self._budgets = services.codec(find("PodDisruptionBudget", "policy"))

    async def evict(self, call: Call, eviction: Tree, options: WriteOptions) -> None:
        """Delete the pod of a call, or begin to. Raises NotFound, TooManyRequests, Conflict, BadRequest."""
        name, namespace = call.target.name, call.target.namespace
        assert name is not None
        assert namespace is not None
        if eviction["metadata"].get("name", name) != name:
            raise BadRequest("name in URL does not match name in Eviction object")
        raw = eviction.get("deleteOptions")
        deletion = delete_options({}, (), raw) if raw else DeleteOptions()
        if options.dry_run:
            deletion = replace(deletion, dry_run=True)
        while True:
            stored = self._services.storage.get(call.codec, namespace, name)
            pod = call.codec.tree(stored)
            if not budgets.ignores_budgets(pod):
                break
            try:
                await self._remove(call, name, _guarded(deletion, stored))
            except Conflict:
                if deletion.version:
                    raise
                continue  # it changed, and may be in need of its budget by now
            return
        await self._with_budget(call, stored, pod, deletion)

    async def _with_budget(self, call: Call, stored: Stored, pod: Tree, deletion: DeleteOptions) -> None:
        name, namespace = stored.name, call.target.namespace
        found = budgets.matching(self._in_namespace(namespace), pod)
        if len(found) > 1:
            raise ApiError(_TOO_MANY)
        if not found:
            await self._remove(call, name, deletion)
            return
        budget = found[0]["metadata"]["name"]
        if not budgets.needs_no_allowance(found[0], pod):
            await self._consume(namespace, budget, name, dry_run=deletion.dry_run)
            await self._remove(call, name, deletion)
            return
        try:
            await self._remove(call, name, _guarded(deletion, stored))
        except Conflict:
            if deletion.version:
                raise
            raise budgets.still_processed(budget) from None  # it may be ready by now: ask again

    def _in_namespace(self, namespace: str | None) -> Sequence[Tree]:
        codec = self._budgets
        prefix = codec.key(namespace, "")
        return [codec.tree(stored) for stored in self._services.hub.cache(codec).scan(prefix)]

    async def _consume(self, namespace: str | None, budget: str, pod: str, *, dry_run: bool) -> None:
        """Take one disruption from the budget, and note the pod; somebody else's write in between is looked at anew."""
        stamp = rfc3339(self._services.clock.now())

        def build(old: Stored) -> Tree:
            tree = fresh(self._budgets.tree(old))
            tree["status"] = budgets.consume(tree, pod, stamp)
            return tree

        await self._writer.update(
            self._budgets, namespace, budget, build, _SYSTEM, [], subresource="status", dry_run=dry_run
        )

    async def _remove(self, call: Call, name: str, deletion: DeleteOptions) -> None:
        if not deletion.dry_run:
            marked = await self._mark(call, name, deletion)
            if deletion.version:
                deletion = replace(deletion, version=marked)
        await self._deleter.delete(call.codec, call.target.namespace, name, deletion, call.user)

    async def _mark(self, call: Call, name: str, deletion: DeleteOptions) -> str:
        """Write on the pod why it goes, before it goes; return its version then."""
        now = rfc3339(self._services.clock.now())

        def build(old: Stored) -> Tree:
            check_preconditions(call.codec, old, deletion)
            pod = fresh(call.codec.tree(old))
            condition = {
                "type": "DisruptionTarget",
                "status": "True",
                "lastProbeTime": None,
                "lastTransitionTime": now,
                "reason": "EvictionByEvictionAPI",
                "message": "Eviction API: evicting",
            }
            set_condition(pod, condition)
            return pod

        outcome = await self._writer.update(
            call.codec, call.target.namespace, name, build, call.user, call.warnings, subresource="status"
        )
        return str(outcome.shown(call.codec)["metadata"]["resourceVersion"])


def _guarded(deletion: DeleteOptions, stored: Stored) -> DeleteOptions:
    """Bind a deletion to the state it was decided on, unless the client bound it to one."""
    return deletion if deletion.version else replace(deletion, version=str(stored.revision))


def set_condition(pod: Tree, condition: Tree) -> None:
    """Put a condition into a pod nobody shares, in place of one of the same type."""
    status = pod.setdefault("status", {})
    conditions = list(status.get("conditions") or ())
    for index, present in enumerate(conditions):
        if present.get("type") == condition["type"]:
            conditions[index] = condition
            break
    else:
        conditions.append(condition)
    status["conditions"] = conditions
