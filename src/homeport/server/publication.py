"""Keeps the Service through which pods find the API, whoever takes it away (services-dns 8).

Upstream looks every ten seconds; here a change of one of the three objects is what makes it look, so `kubectl delete
svc --all` leaves pods without the API for no time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from homeport.api.resources import find
from homeport.errors import ApiError
from homeport.server.cache import Change, ResourceCache
from homeport.server.observers import KEY, Concern
from homeport.server.services import Services

__all__ = ["Publication"]

RETRY_SECONDS: Final = 10.0
_OBJECTS: Final = (("Service", ""), ("Endpoints", ""), ("EndpointSlice", "discovery.k8s.io"))

_log = logging.getLogger(__name__)


class Publication:
    """Has the objects called `kubernetes` published again after every change of one. `publish` is idempotent."""

    def __init__(self, services: Services, publish: Callable[[], Awaitable[None]]) -> None:
        self._publish = publish
        self._watched: list[tuple[ResourceCache, Concern]] = []
        for kind, group in _OBJECTS:
            codec = services.codec(find(kind, group))
            self._watched.append((services.hub.cache(codec), (KEY, codec.key("default", "kubernetes"))))
        self._wake = asyncio.Event()

    def offer(self, _: Change) -> None:
        """Look again."""
        self._wake.set()

    async def run(self) -> None:
        """Follow the objects until cancelled."""
        for cache, concern in self._watched:
            cache.observers.add(self, concern)
        try:
            failed = False
            while True:
                await self._rest(RETRY_SECONDS if failed else None)
                failed = not await self._published()
        finally:
            for cache, _ in self._watched:
                cache.observers.drop(self)

    async def _rest(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _published(self) -> bool:
        try:
            await self._publish()
        except ApiError as error:
            _log.warning("the Service of the API is not as it should be; trying again: %s", error)
            return False
        return True
