"""What a disruption budget says about one eviction."""

from typing import Any

import pytest

from homeport.api import budgets
from homeport.errors import ApiError, Forbidden, TooManyRequests

STAMP = "2026-01-01T00:00:00Z"


def pod(phase: str = "Running", *, ready: bool = True, **labels: str) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": {"name": "p", "labels": labels}, "status": {"phase": phase, "conditions": conditions}}


def budget(selector: Any = None, policy: str = "", **status: Any) -> dict[str, Any]:
    spec = {"selector": selector} | ({"unhealthyPodEvictionPolicy": policy} if policy else {})
    return {"metadata": {"name": "b", "generation": 2}, "spec": spec, "status": {"observedGeneration": 2, **status}}


def test_who_serves_nobody_asks_nobody():
    assert all(budgets.ignores_budgets(pod(phase)) for phase in ("Pending", "Succeeded", "Failed"))
    assert not budgets.ignores_budgets(pod())
    going = pod()
    going["metadata"]["deletionTimestamp"] = STAMP
    assert budgets.ignores_budgets(going)


def test_an_empty_selector_takes_all_and_an_absent_one_none():
    every, none, web = budget({}), budget(), budget({"matchLabels": {"app": "web"}})
    assert budgets.matching([every, none, web], pod(app="db")) == [every]
    assert budgets.matching([every, none, web], pod(app="web")) == [every, web]


def test_a_pod_that_is_not_ready_may_go_where_the_rest_is_well():
    sick = pod(ready=False)
    assert budgets.needs_no_allowance(budget(currentHealthy=2, desiredHealthy=2), sick)
    assert not budgets.needs_no_allowance(budget(currentHealthy=1, desiredHealthy=2), sick)
    assert not budgets.needs_no_allowance(budget(currentHealthy=0, desiredHealthy=0), sick)
    assert budgets.needs_no_allowance(budget(policy="AlwaysAllow", desiredHealthy=2), sick)
    assert not budgets.needs_no_allowance(budget(policy="AlwaysAllow"), pod())


def test_an_eviction_uses_the_budget_up():
    after = budgets.consume(budget(disruptionsAllowed=2, currentHealthy=3, desiredHealthy=1), "p", STAMP)
    assert (after["disruptionsAllowed"], after["disruptedPods"]) == (1, {"p": STAMP})
    assert "conditions" not in after
    last = budgets.consume(budget(disruptionsAllowed=1), "p", STAMP)
    assert [(each["status"], each["reason"]) for each in last["conditions"]] == [("False", "InsufficientPods")]


SYNC_FAILED = {"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "no scale"}
OTHER = {"type": "DisruptionAllowed", "status": "False", "reason": "Odd", "message": "so"}


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        ({"observedGeneration": 1}, "The disruption budget b is still being processed by the server."),
        (
            {"currentHealthy": 1, "desiredHealthy": 2},
            "The disruption budget b needs 2 healthy pods and has 1 currently",
        ),
        (
            {"conditions": [SYNC_FAILED]},
            "The disruption budget b does not allow evicting pods currently because it failed sync: no scale",
        ),
        (
            {"currentHealthy": 2, "conditions": [OTHER]},
            "The disruption budget b does not allow evicting pods currently (Odd): so",
        ),
        ({"currentHealthy": 2}, "The disruption budget b does not allow evicting pods currently"),
    ],
)
def test_a_refusal_says_why(status, cause):
    with pytest.raises(TooManyRequests) as refused:
        budgets.consume(budget(**status), "p", STAMP)
    assert [each.message for each in refused.value.details.causes] == [cause]


@pytest.mark.parametrize(
    "status", [{"disruptionsAllowed": -1}, {"disruptedPods": dict.fromkeys(map(str, range(2001)))}]
)
def test_a_broken_budget_forbids(status):
    with pytest.raises(Forbidden):
        budgets.consume(budget(**status), "p", STAMP)


def test_the_time_of_the_condition_moves_with_its_value_only():
    first = budgets.with_condition({"disruptionsAllowed": 1}, "then")
    same = budgets.with_condition({**first, "disruptionsAllowed": 2}, "now")
    other = budgets.with_condition({**first, "disruptionsAllowed": 0}, "now", failure="lost")
    assert [each["conditions"][0]["lastTransitionTime"] for each in (first, same, other)] == ["then", "then", "now"]
    assert other["conditions"][0]["message"] == "lost"


def test_refusals_are_answers():
    assert issubclass(TooManyRequests, ApiError)
