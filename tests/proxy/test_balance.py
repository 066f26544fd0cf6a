"""Each way of balancing spreads connections as it says; chi-square tells an even draw from an uneven one."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.proxy.balance import SLOTS, Balance, Picker, balance_of, slots

TARGETS = [f"10.244.0.{number}:80" for number in range(2, 10)]
CHI_SQUARE_LIMIT = 29.88
"""7 degrees of freedom: an even draw stays below with probability 0.9999."""


def chi_square(counts: Counter[str], targets: list[str]) -> float:
    expected = counts.total() / len(targets)
    return sum((counts[target] - expected) ** 2 / expected for target in targets)


def picker(balance: Balance, live: Counter[object] | None = None) -> Picker:
    return Picker(balance, random.Random(7), (live if live is not None else Counter()).__getitem__)


def clients(number: int) -> list[str]:
    return [f"10.244.{number // 250}.{number % 250 + 2}" for number in range(number)]


def test_random_is_even() -> None:
    one = picker(Balance.RANDOM)
    counts = Counter(one.pick(TARGETS, "c") for _ in range(8000))
    assert chi_square(counts, TARGETS) < CHI_SQUARE_LIMIT
    assert chi_square(counts, TARGETS) > 0.5  # and not a round


def test_round_robin_takes_everybody_in_turn() -> None:
    one = picker(Balance.ROUND_ROBIN)
    assert [one.pick(TARGETS, "c") for _ in range(16)] == [*TARGETS, *TARGETS]
    assert [one.pick(TARGETS[:2], "c") for _ in range(4)] == [*TARGETS[:2], *TARGETS[:2]]


def test_the_least_burdened_is_taken_and_equals_are_drawn() -> None:
    live: Counter[object] = Counter(dict.fromkeys(TARGETS, 3))
    live[TARGETS[5]] = 2
    one = picker(Balance.LEAST_CONNECTIONS, live)
    assert {one.pick(TARGETS, "c") for _ in range(20)} == {TARGETS[5]}
    live[TARGETS[5]] = 3
    counts = Counter(one.pick(TARGETS, "c") for _ in range(8000))
    assert chi_square(counts, TARGETS) < CHI_SQUARE_LIMIT


def test_least_connections_keeps_long_ones_even() -> None:
    live: Counter[object] = Counter()
    rng = random.Random(3)
    one = picker(Balance.LEAST_CONNECTIONS, live)
    open_now: list[str] = []
    for _ in range(2000):
        if open_now and rng.random() < 0.45:
            live[open_now.pop(rng.randrange(len(open_now)))] -= 1
        target = one.pick(TARGETS, "c")
        live[target] += 1
        open_now.append(target)
    held = [live[target] for target in TARGETS]
    assert max(held) - min(held) <= 0.1 * max(held) + 2


def test_a_source_always_goes_to_the_same_and_sources_spread() -> None:
    one = picker(Balance.SOURCE_HASH)
    first = {client: one.pick(TARGETS, client) for client in clients(4000)}
    assert first == {client: one.pick(TARGETS, client) for client in clients(4000)}
    counts = Counter(first.values())
    assert min(counts.values()) > 0.7 * 4000 / len(TARGETS)
    assert max(counts.values()) < 1.3 * 4000 / len(TARGETS)


def test_few_sources_move_when_a_target_goes_or_comes() -> None:
    one = picker(Balance.SOURCE_HASH)
    before = {client: one.pick(TARGETS, client) for client in clients(4000)}
    fewer = {client: one.pick(TARGETS[1:], client) for client in clients(4000)}
    assert all(fewer[client] == target for client, target in before.items() if target != TARGETS[0])
    more = {client: one.pick([*TARGETS, "new"], client) for client in clients(4000)}
    moved = [client for client, target in before.items() if more[client] != target]
    assert {more[client] for client in moved} == {"new"}
    assert 0.5 / 9 < len(moved) / 4000 < 1.6 / 9


@given(st.sets(st.integers(0, 10_000), min_size=1, max_size=12), st.randoms())
def test_slots_depend_on_who_is_there_not_on_their_order(found: set[int], rng: random.Random) -> None:
    targets = sorted(found)
    shuffled = targets[:]
    rng.shuffle(shuffled)
    assert slots(targets) == slots(shuffled)
    assert len(slots(targets)) == SLOTS
    assert set(slots(targets)) <= found


def test_nobody_has_no_slots() -> None:
    assert slots([]) == ()


@pytest.mark.parametrize(
    ("text", "balance"),
    [(None, Balance.RANDOM), ("", Balance.RANDOM), ("round-robin", Balance.ROUND_ROBIN), ("fastest", None)],
)
def test_annotations(text: str | None, balance: Balance | None) -> None:
    assert balance_of(text) is balance
