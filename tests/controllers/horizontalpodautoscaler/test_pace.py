"""How fast a proposal is followed: windows, policies, bounds, and the conditions that tell of them (workloads 21)."""

import pytest

from homeport.controllers.horizontalpodautoscaler.model import Autoscaler, Behavior, Memory, Policy, Rules
from homeport.controllers.horizontalpodautoscaler.pace import begin, pace, remember_change

NOW = 10_000.0
CLASSIC = Autoscaler(1, 20, ())
UP = Rules(0, "Max", (Policy("Pods", 4, 15), Policy("Percent", 100, 15)))
DOWN = Rules(300, "Max", (Policy("Percent", 100, 15),))


def scaler(up: Rules = UP, down: Rules = DOWN, low: int = 1, high: int = 20) -> Autoscaler:
    return Autoscaler(low, high, (), behavior=Behavior(up, down))


@pytest.mark.parametrize(
    ("current", "proposed", "replicas", "limited", "reason"),
    [
        (2, 3, 3, False, "DesiredWithinRange"),
        (2, 9, 4, True, "ScaleUpLimit"),
        (1, 9, 4, True, "ScaleUpLimit"),
        (6, 30, 12, True, "ScaleUpLimit"),
        (15, 30, 20, True, "TooManyReplicas"),
        (5, 0, 1, True, "TooFewReplicas"),
    ],
)
def test_classic_bounds(current: int, proposed: int, replicas: int, limited: bool, reason: str) -> None:
    found = pace(CLASSIC, current, proposed, Memory(), NOW)
    able, limits = found.conditions
    assert (found.replicas, limits.status, limits.reason) == (replicas, limited, reason)
    assert able.reason == "ReadyForNewScale"


def test_the_highest_recommendation_of_five_minutes_holds() -> None:
    memory = Memory(recommendations=((NOW - 301, 9), (NOW - 299, 5)))
    found = pace(CLASSIC, 6, 2, memory, NOW)
    assert (found.replicas, found.conditions[0].reason) == (5, "ScaleDownStabilized")
    assert found.memory.recommendations == ((NOW - 299, 5), (NOW, 2))


def test_the_size_found_is_the_first_recommendation() -> None:
    memory = begin(Memory(), 7, NOW)
    assert pace(CLASSIC, 7, 1, memory, NOW + 15).replicas == 7
    assert pace(CLASSIC, 7, 1, memory, NOW + 301).replicas == 1
    assert begin(memory, 3, NOW + 15) == memory


def test_a_window_on_the_way_up_takes_the_lowest() -> None:
    subject = scaler(up=Rules(60, "Max", UP.policies))
    found = pace(subject, 2, 6, Memory(recommendations=((NOW - 30, 3), (NOW - 61, 1))), NOW)
    assert (found.replicas, found.conditions[0].reason) == (3, "ScaleUpStabilized")


@pytest.mark.parametrize(
    ("rules", "current", "replicas", "reason"),
    [
        (Rules(0, "Max", (Policy("Pods", 2, 60),)), 4, 6, "ScaleUpLimit"),
        (Rules(0, "Max", (Policy("Pods", 2, 60), Policy("Percent", 100, 60))), 4, 8, "ScaleUpLimit"),
        (Rules(0, "Min", (Policy("Pods", 2, 60), Policy("Percent", 100, 60))), 4, 6, "ScaleUpLimit"),
        (Rules(0, "Disabled", (Policy("Pods", 2, 60),)), 4, 4, "ScaleUpLimit"),
        (Rules(0, "Max", (Policy("Percent", 10, 60),)), 4, 5, "ScaleUpLimit"),
        (Rules(0, "Max", (Policy("Pods", 100, 60),)), 4, 20, "TooManyReplicas"),
    ],
)
def test_policies_up(rules: Rules, current: int, replicas: int, reason: str) -> None:
    found = pace(scaler(up=rules), current, 100, Memory(), NOW)
    assert (found.replicas, found.conditions[1].reason) == (replicas, reason)


@pytest.mark.parametrize(
    ("rules", "replicas", "reason"),
    [
        (Rules(0, "Max", (Policy("Pods", 3, 60),)), 7, "ScaleDownLimit"),
        (Rules(0, "Max", (Policy("Pods", 3, 60), Policy("Percent", 50, 60))), 5, "ScaleDownLimit"),
        (Rules(0, "Min", (Policy("Pods", 3, 60), Policy("Percent", 50, 60))), 7, "ScaleDownLimit"),
        (Rules(0, "Disabled", (Policy("Pods", 3, 60),)), 10, "ScaleDownLimit"),
        (Rules(0, "Max", (Policy("Percent", 100, 60),)), 2, "TooFewReplicas"),
    ],
)
def test_policies_down(rules: Rules, replicas: int, reason: str) -> None:
    found = pace(scaler(down=rules, low=2), 10, 0, Memory(), NOW)
    assert (found.replicas, found.conditions[1].reason) == (replicas, reason)


def test_a_policy_counts_from_the_beginning_of_its_period() -> None:
    subject = scaler(up=Rules(0, "Max", (Policy("Pods", 4, 60),)))
    assert subject.behavior is not None
    memory = remember_change(subject.behavior, Memory(), 2, 6, NOW)
    assert pace(subject, 6, 20, memory, NOW + 30).replicas == 6
    assert pace(subject, 6, 20, memory, NOW + 61).replicas == 10
    shrunk = remember_change(subject.behavior, memory, 6, 5, NOW + 20)
    assert pace(subject, 5, 20, shrunk, NOW + 30).replicas == 6


def test_changes_no_policy_looks_back_on_are_forgotten() -> None:
    behavior = Behavior(UP, DOWN)
    memory = remember_change(behavior, Memory(ups=((NOW - 16, 3),)), 2, 3, NOW)
    assert memory.ups == ((NOW, 1),)
    assert remember_change(None, Memory(), 1, 2, NOW) == Memory()
