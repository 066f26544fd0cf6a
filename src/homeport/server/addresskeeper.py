"""The IPAddress objects: one per address a Service has, made and removed as Services come and go (services-dns 7).

A single task writes them. It compares, address by address, what the address book says with what is stored, so a crash
between a Service and its objects, or a hand that removed one, is mended by the same step.
"""

import asyncio
from ipaddress import ip_address
from typing import Final

from homeport import ids
from homeport.clock import Clock, parse_time, rfc3339
from homeport.server.addressbook import Address, AddressBook, Holder, family_of
from homeport.server.cache import Change, ResourceCache
from homeport.server.objects import Codec, Stored, Tree
from homeport.server.services import Services
from homeport.store.contract import Mismatch

__all__ = ["AddressKeeper"]

FAMILY_LABEL: Final = "ipaddress.kubernetes.io/ip-family"
MANAGED_LABEL: Final = "ipaddress.kubernetes.io/managed-by"
MANAGER: Final = "ipallocator.k8s.io"
GRACE_SECONDS: Final = 60.0
"""How long an object made by somebody in our name may wait for its Service."""


class AddressKeeper:
    """Keeps the objects in step with the book. It sees the objects' own changes as an observer of their cache."""

    def __init__(self, services: Services, codec: Codec, book: AddressBook) -> None:
        self._services, self._codec, self._book = services, codec, book
        self._cache: ResourceCache = services.hub.cache(codec)
        self._clock: Clock = services.clock
        self._due: set[Address] = set()
        self._later: dict[Address, float] = {}
        self._busy: frozenset[Address] = frozenset()
        self._wake = asyncio.Event()
        self._changed = asyncio.Condition()
        self._ended = False

    def offer(self, change: Change) -> None:
        """Look again at an address whose object is gone, or was written by somebody else."""
        name = (change.new or change.gone).name
        try:
            address = ip_address(name)
        except ValueError:
            return
        holder = self._book.holders.get(address)
        if change.new is None:
            self._later.pop(address, None)
            if holder is not None:
                self._look(address)
        elif holder is not None and not _is_of(change.new.tree, address, holder):
            self._look(address)
        elif holder is None and _managed(change.new.tree):
            self._later[address] = parse_time(change.new.tree["metadata"]["creationTimestamp"]) + GRACE_SECONDS
            self._wake.set()

    def _look(self, address: Address) -> None:
        self._due.add(address)
        self._wake.set()

    async def follow(self, codec: Codec) -> None:
        """After a write: when it was of a Service, return once the objects agree with it.

        The write stands whatever becomes of them: after a stop the next start puts them right.
        """
        if codec.resource.kind != "Service":
            return
        for address in self._book.moved():
            self._look(address)
        wanted = self._due | self._busy
        if not wanted:
            return
        async with self._changed:
            await self._changed.wait_for(lambda: self._ended or not wanted & (self._due | self._busy))

    async def mend(self) -> None:
        """Put right what an earlier end left out of step; for the start, before anybody asks for an address."""
        self._due |= self._book.moved() | self._book.holders.keys()
        self._due |= {ip_address(stored.name) for stored in self._cache.entries.values() if _managed(stored.tree)}
        await self._settle_due()

    async def run(self) -> None:
        """Follow Services and objects until cancelled."""
        self._cache.observers.add(self)
        try:
            while True:
                await self._settle_due()
                await self._rest()
        finally:
            self._cache.observers.drop(self)
            self._ended = True
            async with self._changed:
                self._changed.notify_all()

    async def _settle_due(self) -> None:
        while self._due:
            self._busy, self._due = frozenset(self._due), set()
            await asyncio.gather(*(self._put_right(address) for address in sorted(self._busy, key=_order)))
            self._busy = frozenset()
            async with self._changed:
                self._changed.notify_all()

    async def _rest(self) -> None:
        """Wait for something to do: a change, or the end of somebody's grace."""
        self._wake.clear()
        try:
            async with asyncio.timeout(self._next_grace()):
                if not self._due:
                    await self._wake.wait()
        except TimeoutError:
            pass
        now = self._clock.now()
        ended = {address for address, at in self._later.items() if at <= now}
        self._due |= ended
        for address in ended:
            del self._later[address]

    def _next_grace(self) -> float | None:
        return max(0.0, min(self._later.values()) - self._clock.now()) if self._later else None

    async def _put_right(self, address: Address) -> None:
        storage = self._services.storage
        while True:
            holder = self._book.holders.get(address)
            stored = storage.find(self._codec, None, str(address))
            try:
                if stored is not None and not self._fits(stored, address, holder):
                    await storage.remove(stored)
                elif stored is None and holder is not None:
                    await storage.insert(
                        self._codec, self._codec.key(None, str(address)), self._object(address, holder)
                    )
                else:
                    return
            except Mismatch as error:
                if error.current is not None:
                    await storage.catch_up(error.current.revision)

    def _fits(self, stored: Stored, address: Address, holder: Holder | None) -> bool:
        """Tell whether an object may stay: a Service's as we make it, nobody's unless it is in our name."""
        if holder is None:
            return not _managed(stored.tree)
        return _is_of(stored.tree, address, holder)

    def _object(self, address: Address, holder: Holder) -> Tree:
        resource = self._codec.resource
        namespace, name = holder
        return {
            "kind": resource.kind,
            "apiVersion": resource.api_version,
            "metadata": {
                "name": str(address),
                "uid": ids.uid(self._services.rng),
                "creationTimestamp": rfc3339(self._clock.now()),
                "labels": _labels(address),
            },
            "spec": {"parentRef": {"resource": "services", "namespace": namespace, "name": name}},
        }


def _labels(address: Address) -> dict[str, str]:
    return {FAMILY_LABEL: family_of(address), MANAGED_LABEL: MANAGER}


def _managed(tree: Tree) -> bool:
    return (tree["metadata"].get("labels") or {}).get(MANAGED_LABEL) == MANAGER


def _is_of(tree: Tree, address: Address, holder: Holder) -> bool:
    """Tell whether an object says that a Service has its address, in the form the keeper gives it."""
    parent = tree["spec"].get("parentRef") or {}
    labels = tree["metadata"].get("labels") or {}
    where = (parent.get("group", ""), parent.get("resource"), parent.get("namespace", ""), parent.get("name"))
    return where == ("", "services", *holder) and _labels(address).items() <= labels.items()


def _order(address: Address) -> tuple[int, int]:
    return address.version, int(address)
