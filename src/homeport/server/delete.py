"""Deletion: grace, finalizers, propagation, preconditions, collections (api-machinery 8.5-8.11)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from homeport.api import strategy
from homeport.api.exchange import User
from homeport.api.resources import find
from homeport.clock import parse_time, rfc3339
from homeport.errors import NotFound
from homeport.server import failures
from homeport.server.addresskeeper import AddressKeeper
from homeport.server.admission import Admission, Attempt
from homeport.server.allocate import Allocator
from homeport.server.objects import Codec, Stored, Tree
from homeport.server.options import DeleteOptions
from homeport.server.services import Services
from homeport.store.contract import Mismatch

__all__ = ["Deleted", "Deleter", "check_preconditions"]

_COLLECTOR_FINALIZERS: Final = ("orphan", "foregroundDeletion")


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a deletion left: the object as it is or was, and whether it is gone."""

    tree: Tree
    gone: bool


class Deleter:
    """Takes objects away, at once or in steps."""

    def __init__(
        self, services: Services, admission: Admission, allocator: Allocator, addresses: AddressKeeper
    ) -> None:
        self._services, self._admission, self._allocator = services, admission, allocator
        self._addresses = addresses
        self._endpoints = services.codec(find("Endpoints"))

    async def delete(
        self, codec: Codec, namespace: str | None, name: str, options: DeleteOptions, user: User
    ) -> Deleted:
        """Delete one object or begin to. Raises NotFound, Conflict, Forbidden."""
        storage = self._services.storage
        while True:
            old = storage.get(codec, namespace, name)
            self._admission.delete(Attempt(codec, namespace, user, options.dry_run), name)
            check_preconditions(codec, old, options)
            try:
                return await self._attempt(codec, namespace, old, options)
            except Mismatch as error:
                if error.current is None:
                    raise failures.not_found(codec.resource, name) from error  # gone, and the cache is behind
                await storage.catch_up(error.current.revision)

    async def _attempt(self, codec: Codec, namespace: str | None, old: Stored, options: DeleteOptions) -> Deleted:
        before = codec.tree(old)
        now = self._services.clock.now()
        key = (codec.resource.group, codec.resource.kind)
        grace = _grace(before, options) if key in strategy.GRACEFUL else 0
        after = _marked(key, before, options, now, grace)
        metadata = after["metadata"]
        waits = bool(metadata.get("finalizers")) or grace > 0
        if codec.resource.kind == "Namespace":
            metadata.pop("deletionGracePeriodSeconds", None)  # its content decides when it goes
            waits = waits or bool(after["spec"].get("finalizers"))
            if waits and after.get("status", {}).get("phase") != "Terminating":
                after["status"] = {**after.get("status", {}), "phase": "Terminating"}
        if waits:
            if after == before or options.dry_run:
                return Deleted(after, gone=False)
            stored = await self._services.storage.replace(codec, old, after)
            return Deleted(codec.tree(stored), gone=False)
        return await self._remove(codec, namespace, old, before, after, options)

    async def _remove(
        self, codec: Codec, namespace: str | None, old: Stored, before: Tree, after: Tree, options: DeleteOptions
    ) -> Deleted:
        graceful = (codec.resource.group, codec.resource.kind) in strategy.GRACEFUL
        shown = after if graceful else before
        if options.dry_run:
            return Deleted(shown, gone=True)
        storage = self._services.storage
        if graceful and after != before:
            revision = await storage.replace_and_remove(old, codec.encode(after))
        else:
            revision = await storage.remove(old)
        self._allocator.removed(codec, before)
        await self._addresses.follow(codec)
        if codec.resource.kind == "Service":
            await self._drop_endpoints(namespace, old.name)
        shown = {**shown, "metadata": {**shown["metadata"], "resourceVersion": str(revision)}}
        return Deleted(shown, gone=True)

    async def _drop_endpoints(self, namespace: str | None, name: str) -> None:
        """A Service takes its Endpoints with it (services-dns 6)."""
        while (found := self._services.storage.find(self._endpoints, namespace, name)) is not None:
            try:
                await self._services.storage.remove(found)
            except Mismatch as error:
                if error.current is None:
                    return
                await self._services.storage.catch_up(error.current.revision)

    async def collection(
        self, codec: Codec, namespace: str | None, found: Sequence[Stored], options: DeleteOptions, user: User
    ) -> None:
        """Delete what a list found, one by one; what is already gone is as good (8.10)."""
        for stored in found:
            try:
                await self.delete(codec, namespace, stored.name, options, user)
            except NotFound:
                continue


def check_preconditions(codec: Codec, old: Stored, options: DeleteOptions) -> None:
    """Hold the uid and version a deletion names against the object. Raises Conflict."""
    uid = old.tree["metadata"]["uid"]
    if options.uid and options.uid != uid:
        raise failures.precondition(
            codec.resource.gvk,
            old.name,
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({uid}). "
            "The object might have been deleted and then recreated",
        )
    if options.version and options.version != str(old.revision):
        raise failures.precondition(
            codec.resource.gvk,
            old.name,
            f"the ResourceVersion in the precondition ({options.version}) does not match the ResourceVersion in record "
            f"({old.revision}). The object might have been modified",
        )


def _grace(tree: Tree, options: DeleteOptions) -> int:
    """Return the seconds a pod is given: none where nobody would end it (8.7)."""
    spec, phase = tree["spec"], tree.get("status", {}).get("phase")
    asked = options.grace if options.grace is not None else spec.get("terminationGracePeriodSeconds", 0)
    if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    return 1 if asked < 0 else int(asked)


def _marked(key: tuple[str, str], before: Tree, options: DeleteOptions, now: float, grace: int) -> Tree:
    """Return the object with what its deletion writes on it; a repeated deletion may only shorten the grace."""
    metadata = dict(before["metadata"])
    finalizers = _finalizers(key, metadata.get("finalizers") or [], options)
    if finalizers != (metadata.get("finalizers") or []):
        if finalizers:
            metadata["finalizers"] = finalizers
        else:
            metadata.pop("finalizers", None)
    held = metadata.get("deletionGracePeriodSeconds", 0)
    if "deletionTimestamp" not in metadata:
        metadata["deletionTimestamp"] = rfc3339(now + grace)
        metadata["deletionGracePeriodSeconds"] = grace
        if metadata.get("generation"):
            metadata["generation"] += 1
    elif grace < held:
        started = parse_time(metadata["deletionTimestamp"]) - held
        ends = max(started + grace, now)
        metadata["deletionTimestamp"] = rfc3339(ends)
        metadata["deletionGracePeriodSeconds"] = grace and max(grace, 1)
    return {**before, "metadata": metadata}


def _finalizers(key: tuple[str, str], present: list[str], options: DeleteOptions) -> list[str]:
    """Return the finalizers with the collector's in agreement with the policy (8.9)."""
    if key[1] == "Event":
        return present
    policy = options.propagation
    if not policy and options.orphan is not None:
        policy = "Orphan" if options.orphan else "Background"
    if not policy and key in strategy.ORPHANS_BY_DEFAULT and "foregroundDeletion" not in present:
        policy = "Orphan"
    if not policy:
        return present
    wanted = {"Orphan": "orphan", "Foreground": "foregroundDeletion"}.get(policy)
    kept = [each for each in present if each not in _COLLECTOR_FINALIZERS or each == wanted]
    return kept if wanted is None or wanted in kept else [*kept, wanted]
