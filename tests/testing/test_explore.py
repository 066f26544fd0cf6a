"""Random histories keep every promise, repeat themselves, are read from files, and are told shortly when they fail."""

import os
from pathlib import Path

import pytest

from homeport.testing import histories
from homeport.testing.explore import explore, main, shrink, trial
from homeport.testing.histories import History, Step, make_history, parse_history, without
from homeport.testing.invariants import Invariants
from homeport.testing.simulation import run_simulated
from homeport.testing.steps import parse_step
from homeport.testing.workloads import SET, Workload, parse_workload

SEEDS = int(os.environ.get("HOMEPORT_SEEDS", "2000" if os.environ.get("CI") else "120"))


@pytest.mark.timeout(1800)
def test_any_history_keeps_the_promises() -> None:
    for _, failures in explore(0, SEEDS, jobs=os.cpu_count() or 1):
        if failures:
            pytest.fail(str(shrink(failures[0])), pytrace=False)


@pytest.mark.parametrize("seed", [4, 11, 16])
def test_a_history_repeats_itself(seed: int) -> None:
    assert run_simulated(lambda: histories.play(make_history(seed))) == run_simulated(
        lambda: histories.play(make_history(seed))
    )


@pytest.mark.parametrize("seed", range(40))
def test_a_history_is_read_from_its_own_text(seed: int) -> None:
    assert parse_history(str(make_history(seed))) == make_history(seed)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("world: []", "has `world` and `steps`"),
        ("world: [DaemonSet db]\nsteps: []", "neither StatefulSet nor Deployment"),
        ("world: [StatefulSet db size=3]\nsteps: []", "has no 'size'"),
        ("world: []\nsteps: [1 explode db-0]", "'explode' is no kind of step"),
        ("world: []\nsteps: [1 scale db 3 4]", "says too much"),
        ("world: []\nsteps: [1 refuse everything]", "fail by one of"),
    ],
)
def test_what_is_no_history_is_refused_with_the_reason(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_history(text)


def test_every_kind_of_step_turns_up() -> None:
    from homeport.testing.steps import KINDS

    seen = {step.kind for seed in range(400) for step in make_history(seed).steps}
    assert set(KINDS) - seen == {"fail_names"}  # histories look at answers at rest alone


@pytest.mark.parametrize("moment", [0.01 * number for number in range(1, 9)])
def test_a_controller_that_is_killed_writes_nothing_more(moment: float) -> None:
    """Killed while the store stalls: a crash would not make a last write, which here would wait for ever."""
    world = (Workload(SET, "db", replicas=3),)
    steps = (Step(moment, "stall"), Step(60.0, "restart_control"))
    assert trial(History(379, 1, world, steps)) is None


@pytest.mark.parametrize(
    ("seed", "world", "steps"),
    [
        # a set lives by a revision of the set before it, which the garbage collector could not delete in time
        (1774, "StatefulSet db", ["1 refuse time-out 1", "0 delete db Background", "12.4 drain node-1"]),
    ],
)
def test_what_broke_a_promise_once_does_so_no_more(seed: int, world: str, steps: list[str]) -> None:
    assert trial(History(seed, 1, (parse_workload(world),), tuple(map(parse_step, steps)))) is None


def test_steps_left_out_leave_their_waits() -> None:
    history = make_history(1, length=3)
    shorter = without(history, [0, 1])
    assert len(shorter.steps) == 1
    assert shorter.steps[0].wait == sum(step.wait for step in history.steps)


def ugly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a set of more than one replica be a broken promise."""

    async def at_rest(self: Invariants) -> list[str]:
        sizes = [tree["spec"]["replicas"] for tree in self.simulation.objects(histories.SETS)]
        return ["taste: more than one is too many"] if max(sizes, default=0) > 1 else []

    monkeypatch.setattr(Invariants, "at_rest", at_rest)


def test_a_broken_promise_is_told_by_what_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    ugly(monkeypatch)
    world = (Workload(SET, "db", 1, claims=True, parallel=True), Workload(SET, "log", 1))
    steps = (Step(1.0, "heal"), Step(0.0, "crash", "db-0", "1"), Step(61.0, "scale", "db", "4"), Step(1.0, "reunite"))
    failure = trial(History(1, 3, world, steps))
    assert failure is not None
    shortest = shrink(failure)
    assert str(shortest.history).splitlines() == [
        "seed: 1", "nodes: 1", "world:", "- StatefulSet db", "steps:", "- 0 scale db 2",
    ]  # fmt: skip
    assert "taste: more than one is too many" in str(shortest)
    assert "statefulset/db replicas=1 → replicas=2" in shortest.story


def test_the_command_saves_replays_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, progress = tmp_path / "failed", tmp_path / "progress.json"
    with monkeypatch.context() as patch:
        ugly(patch)
        first = next(seed for seed in range(50) if len(make_history(seed).world) == 1 and _asks_for_two(seed))
        arguments = ["--first", str(first), "--jobs", "1", "--resume", str(progress), "--save", str(kept)]
        assert main([*arguments, "--seeds", "1"]) == 1
        assert f"--replay {kept / f'seed-{first}.yaml'}" in capsys.readouterr().out
        assert main(["--replay", str(kept / f"seed-{first}.yaml")]) == 1
    assert main(["--replay", str(kept / f"seed-{first}.yaml")]) == 0
    assert main([*arguments, "--seeds", "3"]) == 1  # it goes on, and remembers
    assert "3 histories, 1 failed" in capsys.readouterr().out
    assert main(["--replay", str(tmp_path / "nothing.yaml")]) == 2


def _asks_for_two(seed: int) -> bool:
    world = make_history(seed).world
    changes = {step.kind for step in make_history(seed).steps} & {"scale", "delete", "delete_namespace"}
    return world[0].kind == SET and world[0].replicas > 1 and not changes


def test_several_processes_play_what_one_does() -> None:
    assert main(["--first", "3", "--seeds", "24", "--jobs", "2"]) == 0
