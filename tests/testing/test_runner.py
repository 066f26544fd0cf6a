"""Calls on a virtual loop: their results, and what Ctrl-C does to them."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from homeport.testing.runner import LoopRunner


@pytest.fixture
def runner() -> Iterator[LoopRunner]:
    made = LoopRunner()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield made
    signal.signal(signal.SIGINT, before)
    made.close()


class Silent:
    """Nobody may ask for its text."""

    def __repr__(self) -> str:
        raise AssertionError("this may be long")


def test_results_are_handed_over_unseen(runner: LoopRunner) -> None:
    made = Silent()

    async def answer() -> Silent:
        await asyncio.sleep(3600)
        return made

    assert runner.run(answer()) is made
    assert runner.run(answer()) is made
    assert runner.loop.time() == 7200


def test_failures_are_raised(runner: LoopRunner) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    async def give_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(ZeroDivisionError):
        runner.run(fail())
    with pytest.raises(asyncio.CancelledError):
        runner.run(give_up())


def test_an_interrupt_is_raised_once_what_runs_is_seen_out(runner: LoopRunner) -> None:
    seen = []

    async def wait() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(5)
            seen.append(runner.loop.time())

    with pytest.raises(KeyboardInterrupt):
        runner.run(wait())
    assert seen == [5.0]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    runner.run(asyncio.sleep(1))


def test_a_second_interrupt_is_not_waited_for(runner: LoopRunner) -> None:
    async def insist() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        runner.run(insist())


def test_somebody_elses_handler_is_let_alone(runner: LoopRunner) -> None:
    heard = []
    signal.signal(signal.SIGINT, lambda *_: heard.append(1))

    async def go_on() -> str:
        signal.raise_signal(signal.SIGINT)
        return "done"

    assert runner.run(go_on()) == "done"
    assert heard == [1]


def test_what_is_left_ends_with_the_loop() -> None:
    runner, seen = LoopRunner(), []

    async def linger() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            seen.append("ended")

    async def leave() -> asyncio.Task[None]:
        task = asyncio.create_task(linger())
        await asyncio.sleep(0)
        return task

    task = runner.run(leave())
    runner.close()
    assert (seen, task.cancelled(), runner.loop.is_closed()) == (["ended"], True, True)
