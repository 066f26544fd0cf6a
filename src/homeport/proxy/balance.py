"""How a new connection is given to one of several endpoints. Pure.

Upstream's proxies draw at random (services-dns 17.1); the other ways are asked for by an annotation of the Service. The
packet filter has its own means for all but the least connections, which only the balancer in user space can count.
"""

import hashlib
import random
from array import array
from collections.abc import Callable, Hashable, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any, Final, TypeVar

__all__ = ["ANNOTATION", "SLOTS", "Balance", "Picker", "balance_of", "slots"]

ANNOTATION: Final = "homeport.local/balance"
SLOTS: Final = 509
"""Clients are hashed to one of so many slots, and slots are given to endpoints."""


class Balance(Enum):
    """What decides; the value is what the annotation says."""

    RANDOM = "random"
    ROUND_ROBIN = "round-robin"
    LEAST_CONNECTIONS = "least-connections"
    SOURCE_HASH = "source-hash"


T = TypeVar("T", bound=Hashable)


def balance_of(text: str | None) -> Balance | None:
    """Return what an annotation's value means: random without one, None for one that means nothing."""
    if not text:
        return Balance.RANDOM
    try:
        return Balance(text)
    except ValueError:
        return None


def slots(targets: Sequence[T]) -> Sequence[T]:
    """Return who has each slot: the target with the highest score for it (rendezvous hashing).

    Every target has about as many slots as any other. One that goes gives only its own away, and one that comes takes
    its share evenly from the others, whatever their order: few clients move. Empty without targets.
    """
    scores = [(_scores(str(target)), target) for target in dict.fromkeys(targets)]
    if not scores:
        return ()
    return [max(scores, key=lambda one: one[0][slot])[1] for slot in range(SLOTS)]


@lru_cache(maxsize=4096)
def _scores(target: str) -> "array[int]":
    return array("I", hashlib.shake_128(target.encode()).digest(SLOTS * array("I").itemsize))


class Picker:
    """Gives connections of one port to endpoints. The order of the targets does not matter.

    live  returns how many connections a target has now
    """

    def __init__(self, balance: Balance, rng: random.Random, live: Callable[[Any], int]) -> None:
        self._balance, self._rng, self._live = balance, rng, live
        self._turn = 0
        self._slots: tuple[Sequence[Hashable], Sequence[Hashable]] = ((), ())

    def pick(self, targets: Sequence[T], client: str) -> T:
        """Return the target of a new connection from a client's address. Raises IndexError without targets."""
        match self._balance:
            case Balance.RANDOM:
                return targets[self._rng.randrange(len(targets))]
            case Balance.ROUND_ROBIN:
                self._turn += 1
                return targets[(self._turn - 1) % len(targets)]
            case Balance.LEAST_CONNECTIONS:
                least = min(map(self._live, targets))
                return self._rng.choice([target for target in targets if self._live(target) == least])
            case Balance.SOURCE_HASH:
                return self._slot_table(targets)[_slot(client)]

    def _slot_table(self, targets: Sequence[T]) -> Sequence[T]:
        known, table = self._slots
        if known != targets:
            table = slots(targets)
            self._slots = (targets, table)
        return table  # type: ignore[return-value]  # of these targets


def _slot(client: str) -> int:
    return int.from_bytes(hashlib.blake2s(client.encode(), digest_size=8).digest(), "big") % SLOTS
