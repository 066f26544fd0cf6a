"""Random histories keep every promise; a broken promise is found and told shortly."""

import os

import pytest

from homeport.testing import histories
from homeport.testing.explore import shrink, trial
from homeport.testing.histories import History, Step, make_history, without
from homeport.testing.invariants import Invariants, Violation

SEEDS = int(os.environ.get("HOMEPORT_SEEDS", "120"))
GROUPS = 12


@pytest.mark.parametrize("group", range(GROUPS))
@pytest.mark.timeout(600)
def test_any_history_keeps_the_promises(group: int) -> None:
    for seed in range(group, SEEDS, GROUPS):
        failure = trial(make_history(seed))
        if failure is not None:
            pytest.fail(str(shrink(failure)), pytrace=False)


def test_a_history_repeats_itself() -> None:
    from homeport.testing.simulation import run_simulated

    assert run_simulated(lambda: histories.play(make_history(4))) == run_simulated(
        lambda: histories.play(make_history(4))
    )


def test_steps_left_out_leave_their_waits() -> None:
    history = make_history(1, length=3)
    shorter = without(history, [0, 1])
    assert len(shorter.steps) == 1
    assert shorter.steps[0].wait == sum(step.wait for step in history.steps)


def test_a_broken_promise_is_told_by_the_steps_that_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_rest(self: Invariants) -> None:
        for tree in self.simulation.objects(histories.SETS):
            if tree["spec"]["replicas"] == 2:
                raise Violation("taste: two is an ugly number")

    monkeypatch.setattr(Invariants, "at_rest", at_rest)
    steps = (Step(1.0, "heal"), Step(0.0, "crash", "db-0", 1), Step(1.0, "scale", "db", 2), Step(1.0, "join", "node-1"))
    failure = trial(History(1, 1, 1, "OrderedReady", False, "Retain", 0, steps))
    assert failure is not None
    shortest = shrink(failure)
    assert [step.kind for step in shortest.history.steps] == ["scale"]
    assert "two is an ugly number" in str(shortest)
    assert "statefulset/db replicas=1 → replicas=2" in shortest.story
