"""How long a client waits before it asks again a server that is not well."""

import asyncio
import random
from typing import Final

__all__ = ["Backoff"]

FIRST_SECONDS: Final = 0.05
LIMIT_SECONDS: Final = 10.0
RESET_SECONDS: Final = 30.0


class Backoff:
    """Pauses that double from 50 ms to 10 s, each lengthened by up to its own length at random.

    Half a minute without one starts over.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._last = 0.0
        self.failures = 0

    async def sleep(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._last > RESET_SECONDS:
            self.failures = 0
        pause = min(FIRST_SECONDS * 2.0 ** min(self.failures, 30), LIMIT_SECONDS)
        self.failures += 1
        await asyncio.sleep(pause * (1.0 + self._rng.random()))
        self._last = loop.time()
