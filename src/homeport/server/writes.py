"""How every object gets into the store: the same steps whatever verb or component brings it (api-machinery 7, 8.1)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from homeport import ids
from homeport.api import strategy
from homeport.api.exchange import User
from homeport.clock import rfc3339
from homeport.errors import AlreadyExists, ApiError, Cause, Details
from homeport.server import failures, rules
from homeport.server.addresskeeper import AddressKeeper
from homeport.server.admission import Admission, Attempt
from homeport.server.allocate import Allocator
from homeport.server.objects import Codec, Stored, Tree, encode_json
from homeport.server.services import Services
from homeport.store.contract import Mismatch

__all__ = ["Build", "Outcome", "Writer", "fresh"]

_NAME_ATTEMPTS: Final = 8
_SERVER_OWNED: Final = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")
_decode: Final[Callable[[bytes], Any]] = msgspec.json.Decoder().decode

Build = Callable[[Stored], Tree]
"""Makes the wanted state from the stored one; called again after a conflict. The result is given away, unshared."""


def fresh(tree: Tree) -> Tree:
    """Return a deep copy nobody shares."""
    copied: Tree = _decode(encode_json(tree))
    return copied


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a write left behind: `stored`, or only `tree` where nothing is stored (dry run, last finalizer gone)."""

    tree: Tree | None = None
    stored: Stored | None = None
    created: bool = False

    def shown(self, codec: Codec) -> Tree:
        """Return the object as served."""
        if self.stored is not None:
            return codec.tree(self.stored)
        assert self.tree is not None
        return self.tree


class Writer:
    """Creates and updates objects. Raises what the client is to see."""

    def __init__(
        self, services: Services, admission: Admission, allocator: Allocator, addresses: AddressKeeper
    ) -> None:
        self._services, self._admission, self._allocator = services, admission, allocator
        self._addresses = addresses

    async def create(
        self,
        codec: Codec,
        namespace: str | None,
        tree: Tree,
        user: User,
        warnings: list[str],
        *,
        dry_run: bool = False,
    ) -> Outcome:
        """Store a new object. `tree` is decoded and defaulted, and given away. Raises AlreadyExists, Invalid, ..."""
        services = self._services
        metadata = tree["metadata"]
        if metadata.get("resourceVersion"):
            raise ApiError("resourceVersion should not be set on objects to be created")
        self._place(codec, namespace, metadata)
        for field in (*_SERVER_OWNED, "managedFields", "resourceVersion"):
            metadata.pop(field, None)
        now = services.clock.now()
        metadata["uid"] = ids.uid(services.rng)
        metadata["creationTimestamp"] = rfc3339(now)
        attempt = Attempt(codec, namespace, user, dry_run)
        await self._admission.create(attempt, tree)
        generated = bool(metadata.get("generateName")) and not metadata.get("name")
        if generated:
            metadata["name"] = ids.generate_name(metadata["generateName"], services.rng)
        reservation = self._allocator.create(codec, tree, dry_run=dry_run)
        try:
            outcome = await self._insert(attempt, tree, warnings, generated, now)
        except asyncio.CancelledError:
            raise  # the write may yet be stored: what it took stays taken, until the next start counts again
        except BaseException:
            reservation.release()
            raise
        reservation.commit()
        await self._addresses.follow(codec)
        return outcome

    async def _insert(self, attempt: Attempt, tree: Tree, warnings: list[str], generated: bool, now: float) -> Outcome:
        codec, namespace, dry_run = attempt.codec, attempt.namespace, attempt.dry_run
        services, resource, metadata = self._services, codec.resource, tree["metadata"]
        held: Stored | None = None
        strategy.prepare_for_create(resource.gvk, tree, now=now, gates=services.settings.feature_gates)
        if warning := strategy.drop_duplicate_owners(tree):
            warnings.append(warning)
        for number in range(_NAME_ATTEMPTS):
            rules.check_create(resource.gvk, tree, warnings)
            if number == 0:
                await self._admission.validate(attempt, tree)
            key = codec.key(namespace, metadata["name"])
            held = services.hub.cache(codec).get(key)
            if held is None and dry_run:
                return Outcome(tree=tree, created=True)
            if held is None:
                try:
                    stored = await services.storage.insert(codec, key, tree)
                except Mismatch as error:
                    held = _holder(error)
                    if held is not None:  # whoever is told of the holder may read it next
                        await services.storage.catch_up(held.revision)
                else:
                    return Outcome(stored=stored, created=True)
            if not generated or number == _NAME_ATTEMPTS - 1:
                break
            metadata["name"] = ids.generate_name(metadata["generateName"], services.rng)
        raise self._taken(codec, metadata["name"], held, generated)

    def _taken(self, codec: Codec, name: str, held: Stored | None, generated: bool) -> AlreadyExists:
        resource = codec.resource
        if generated:
            return AlreadyExists(
                f'{resource.group_resource} "{name}" already exists, the server was not able to generate a unique name '
                "for the object",
                Details(name=name, group=resource.group, kind=resource.plural, retry_after_seconds=1),
            )
        terminating = held is not None and "deletionTimestamp" in held.tree["metadata"]
        return failures.already_exists(resource, name, terminating=terminating)

    def _place(self, codec: Codec, namespace: str | None, metadata: Tree) -> None:
        """Fill the namespace in from the URL, or refuse another one."""
        if not codec.resource.namespaced:
            metadata.pop("namespace", None)
            return
        if metadata.get("namespace", namespace) != namespace:
            raise failures.namespace_mismatch()
        metadata["namespace"] = namespace

    async def update(
        self,
        codec: Codec,
        namespace: str | None,
        name: str,
        build: Build,
        user: User,
        warnings: list[str],
        *,
        subresource: str = "",
        dry_run: bool = False,
        retry: bool = True,
    ) -> Outcome:
        """Bring an object to the state `build` makes of the stored one; nothing is written if that changes nothing.

        retry   apply `build` to the newer state after a conflict; without it a conflict is the client's to see.
        """
        services = self._services
        while True:
            old = services.storage.get(codec, namespace, name)
            new = build(old)
            try:
                return await self._settle(codec, namespace, old, new, user, warnings, subresource, dry_run)
            except Mismatch as error:
                if not retry:
                    raise failures.modified(codec.resource, name) from error
                if error.current is None:
                    raise failures.not_found(codec.resource, name) from error  # gone, and the cache is behind
                await services.storage.catch_up(error.current.revision)

    async def _settle(
        self,
        codec: Codec,
        namespace: str | None,
        old: Stored,
        new: Tree,
        user: User,
        warnings: list[str],
        subresource: str,
        dry_run: bool,
    ) -> Outcome:
        services, resource, before = self._services, codec.resource, codec.tree(old)
        metadata, name = new["metadata"], old.name
        claimed = metadata.get("resourceVersion")
        if claimed and claimed != before["metadata"]["resourceVersion"]:
            raise failures.modified(resource, name)
        if not claimed and (resource.group, resource.kind) in strategy.UNCONDITIONAL_UPDATE_REFUSED:
            raise _version_required(codec, name)
        self._place(codec, namespace, metadata)
        uid = metadata.get("uid", "")
        foreign = bool(uid) and uid != before["metadata"]["uid"]
        metadata["resourceVersion"] = before["metadata"]["resourceVersion"]
        metadata.pop("managedFields", None)
        attempt = Attempt(codec, namespace, user, dry_run)
        reservation = self._allocator.update(codec, new, before, subresource, dry_run=dry_run)
        try:
            if not subresource:
                await self._admission.update(attempt, new, before)
            if subresource == "binding":  # what a bind may touch is the server's own doing
                return await self._replace(codec, old, new, before, dry_run)
            gates = services.settings.feature_gates
            strategy.prepare_for_update(resource.gvk, new, before, subresource, now=services.clock.now(), gates=gates)
            if foreign:
                new["metadata"]["uid"] = uid
            if warning := strategy.drop_duplicate_owners(new):
                warnings.append(warning)
            rules.check_update(resource.gvk, new, before, subresource, warnings)
            if not subresource or subresource == "resize":
                await self._admission.validate(attempt, new, before)
            if _finished(resource.kind, new):
                if not dry_run:
                    await services.storage.remove(old)
                    self._allocator.removed(codec, before)
                    await self._addresses.follow(codec)
                return Outcome(tree=new)
            outcome = await self._replace(codec, old, new, before, dry_run)
        except asyncio.CancelledError:
            raise  # as in `create`
        except BaseException:
            reservation.release()
            raise
        reservation.commit()
        await self._addresses.follow(codec)
        return outcome

    async def _replace(self, codec: Codec, old: Stored, new: Tree, before: Tree, dry_run: bool) -> Outcome:
        """Store the new state, unless it is the old one."""
        if new == before:
            return Outcome(stored=old)
        if dry_run:
            return Outcome(tree=new)
        return Outcome(stored=await self._services.storage.replace(codec, old, new))


def _holder(error: Mismatch) -> Stored | None:
    current = error.current
    return None if current is None else Stored(current.key, current.value, current.revision)


def _finished(kind: str, tree: Tree) -> bool:
    """Tell whether an object under deletion has nothing left that holds it (8.8)."""
    metadata = tree["metadata"]
    if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
        return False
    if kind == "Namespace" and tree.get("spec", {}).get("finalizers"):
        return False
    return not metadata.get("deletionGracePeriodSeconds")


def _version_required(codec: Codec, name: str) -> ApiError:
    resource = codec.resource
    cause = Cause("FieldValueInvalid", "Invalid value: 0: must be specified for an update", "metadata.resourceVersion")
    return failures.invalid(resource.plural, resource.group, name, (cause,))
