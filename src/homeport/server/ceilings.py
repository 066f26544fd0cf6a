"""What LimitRanges and ResourceQuotas hold against a write, once it has proved valid (api-machinery 21.4, 21.5).

A quota is charged before the object is stored, by a write that expects the quota as it was read: of two creates that
race for the last place one wins. What was charged for an object that did not come to be is given back when the quota
controller counts again.
"""

from typing import Final

from homeport.api import limit_ranges, quotas
from homeport.api.resources import Resource, find
from homeport.errors import Forbidden
from homeport.server import failures
from homeport.server.objects import Stored, Tree
from homeport.server.services import Services
from homeport.store.contract import Mismatch

__all__ = ["LimitRanger", "QuotaKeeper"]

_CHARGED_ON_UPDATE: Final = frozenset({"services", "persistentvolumeclaims"})


def _charged(resource: Resource, new: Tree, old: Tree) -> bool:
    """Whether an update is a quota's business: a pod's only when it is resized, or comes under another scope."""
    if resource.group_resource == "pods":
        return quotas.changes_usage(new, old)
    return resource.group_resource in _CHARGED_ON_UPDATE


class LimitRanger:
    """The limits of a namespace, applied to pods and claims."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._codec = services.codec(find("LimitRange"))

    def _ranges(self, namespace: str) -> list[Tree]:
        cache = self._services.hub.cache(self._codec)
        return [stored.tree for stored in cache.scan(self._codec.scope(namespace))] if cache.entries else []

    def mutate(self, namespace: str, pod: Tree) -> None:
        """Give a new pod's containers the namespace's defaults, in place."""
        for each in self._ranges(namespace):
            limit_ranges.set_defaults(pod, each)

    def validate(self, resource: Resource, namespace: str, tree: Tree) -> None:
        """Refuse a pod or claim outside the limits. Raises Forbidden."""
        check = limit_ranges.pod_violations if resource.kind == "Pod" else limit_ranges.claim_violations
        for each in self._ranges(namespace):
            if found := check(tree, each):
                why = found[0] if len(found) == 1 else f"[{', '.join(found)}]"
                raise failures.forbidden(resource, tree["metadata"].get("name", ""), why)


class QuotaKeeper:
    """Lets a write pass if every quota of its namespace has room for it, and charges them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._codec = services.codec(find("ResourceQuota"))

    async def admit(self, resource: Resource, namespace: str, new: Tree, old: Tree | None, *, dry_run: bool) -> None:
        """Check and charge. Raises Forbidden."""
        cache = self._services.hub.cache(self._codec)
        if not cache.entries or (old is not None and not _charged(resource, new, old)):
            return
        added = quotas.charge(resource, new, old, self._services.clock.now())
        found = [
            stored
            for stored in cache.scan(self._codec.scope(namespace))
            if quotas.counts(resource, (stored.tree.get("status") or {}).get("hard") or ())
            and quotas.reads(stored.tree, resource, new)
        ]
        for quota in found:
            self._check(quota, resource, new, added)
        if not dry_run:
            for quota in found:
                await self._charge(quota, resource, new, added)

    def _check(self, quota: Stored, resource: Resource, new: Tree, added: quotas.Usage) -> None:
        if why := quotas.refusal(quota.tree, resource, new, added):
            raise self._refused(resource, new, why)

    async def _charge(self, quota: Stored, resource: Resource, new: Tree, added: quotas.Usage) -> None:
        """Write the new usage, looking again whenever somebody else charged the quota in between."""
        while True:
            status = quota.tree.get("status") or {}
            requested = {name: amount for name, amount in added.items() if name in (status.get("hard") or {})}
            if not requested:
                return
            used = quotas.parse(status.get("used"))
            used |= {name: used[name] + amount if name in used else amount for name, amount in requested.items()}
            status = {**status, "used": quotas.encode(used)}
            tree = {**quota.tree, "metadata": dict(quota.tree["metadata"]), "status": status}
            try:
                await self._services.storage.replace(self._codec, quota, tree)
            except Mismatch as error:
                if error.current is None:
                    return  # it was deleted
                await self._services.storage.catch_up(error.current.revision)
                quota = Stored(error.current.key, error.current.value, error.current.revision)
                self._check(quota, resource, new, added)
            else:
                return

    def _refused(self, resource: Resource, new: Tree, why: str) -> Forbidden:
        return failures.forbidden(resource, new["metadata"].get("name", ""), why)
