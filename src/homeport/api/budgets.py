"""What a PodDisruptionBudget says about evicting one pod: pure rules, asked by the server and by its controller.

Source: `workloads` 13.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from homeport.api import pods
from homeport.api.selectors import label_selector_from_object
from homeport.errors import BadRequest, Cause, Details, Forbidden, TooManyRequests

__all__ = [
    "CONDITION",
    "SYNC_FAILED",
    "consume",
    "ignores_budgets",
    "matching",
    "needs_no_allowance",
    "still_processed",
    "with_condition",
]

Tree = Mapping[str, Any]

CONDITION: Final = "DisruptionAllowed"
SYNC_FAILED: Final = "SyncFailed"
MOST_DISRUPTED: Final = 2000
_REFUSED: Final = "Cannot evict pod as it would violate the pod's disruption budget."
_CAUSE: Final = "DisruptionBudget"
RETRY_SECONDS: Final = 10


def ignores_budgets(pod: Tree) -> bool:
    """Whether a pod may go without asking: it serves nobody yet, or not any more."""
    return pods.is_terminal(pod) or pods.phase(pod) == pods.PENDING or pods.is_terminating(pod)


def matching(budgets: Iterable[Tree], pod: Tree) -> list[Tree]:
    """Return the budgets of the pod's namespace that select it; an absent selector selects nothing."""
    labels = pod["metadata"].get("labels")
    return [budget for budget in budgets if _selects(budget["spec"].get("selector"), labels)]


def _selects(selector: Tree | None, labels: Mapping[str, str] | None) -> bool:
    if selector is None:
        return False
    try:
        return label_selector_from_object(selector).matches(labels)
    except BadRequest:
        return False


def needs_no_allowance(budget: Tree, pod: Tree) -> bool:
    """Whether a pod that is not ready may go without using the budget up."""
    if pods.is_ready(pod):
        return False
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    desired = status.get("desiredHealthy", 0)
    return bool(status.get("currentHealthy", 0) >= desired > 0)


def still_processed(name: str) -> TooManyRequests:
    """Return the refusal while the budget's controller has not looked at it yet."""
    text = f"The disruption budget {name} is still being processed by the server."
    return TooManyRequests(_REFUSED, Details(causes=(Cause(_CAUSE, text),), retry_after_seconds=RETRY_SECONDS))


def consume(budget: Tree, pod_name: str, stamp: str) -> dict[str, Any]:
    """Return the status after one more eviction. Raises TooManyRequests, Forbidden.

    stamp   now, as a timestamp
    """
    name, status = budget["metadata"]["name"], budget.get("status") or {}
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        raise still_processed(name)
    allowed, disrupted = status.get("disruptionsAllowed", 0), status.get("disruptedPods") or {}
    if allowed < 0:
        raise _forbidden(name, "pdb disruptions allowed is negative")
    if len(disrupted) > MOST_DISRUPTED:
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise _forbidden(name, why)
    if allowed == 0:
        raise TooManyRequests(_REFUSED, Details(causes=(Cause(_CAUSE, _why_not(name, status)),)))
    after = {**status, "disruptionsAllowed": allowed - 1, "disruptedPods": {**disrupted, pod_name: stamp}}
    return after if allowed > 1 else with_condition(after, stamp)


def _why_not(name: str, status: Tree) -> str:
    conditions = status.get("conditions") or ()
    found = next((each for each in conditions if each.get("type") == CONDITION), None)
    told = found if found and found.get("status") == "False" and found.get("message") else None
    start = f"The disruption budget {name}"
    if told and told.get("reason") == SYNC_FAILED:
        return f"{start} does not allow evicting pods currently because it failed sync: {told['message']}"
    desired, current = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
    if current <= desired:
        return f"{start} needs {desired} healthy pods and has {current} currently"
    if told:
        return f"{start} does not allow evicting pods currently ({told.get('reason', '')}): {told['message']}"
    return f"{start} does not allow evicting pods currently"


def _forbidden(name: str, why: str) -> Forbidden:
    about = Details(name=name, group="policy", kind="poddisruptionbudget")
    return Forbidden(f'poddisruptionbudget.policy "{name}" is forbidden: {why}', about)


def with_condition(status: Tree, stamp: str, *, failure: str = "") -> dict[str, Any]:
    """Return the status with the condition that goes with its allowance, or with a failure to compute it.

    Its time moves only when it changes between True and False.
    """
    if failure:
        value, reason = "False", SYNC_FAILED
    elif status.get("disruptionsAllowed", 0) > 0:
        value, reason = "True", "SufficientPods"
    else:
        value, reason = "False", "InsufficientPods"
    conditions = list(status.get("conditions") or ())
    present = next((index for index, each in enumerate(conditions) if each.get("type") == CONDITION), None)
    old = {} if present is None else conditions[present]
    fresh: dict[str, Any] = {"type": CONDITION, "status": value}
    if status.get("observedGeneration"):
        fresh["observedGeneration"] = status["observedGeneration"]
    fresh["lastTransitionTime"] = old.get("lastTransitionTime") if old.get("status") == value else stamp
    fresh |= {"reason": reason, "message": failure}
    if present is None:
        conditions.append(fresh)
    else:
        conditions[present] = fresh
    return {**status, "conditions": conditions}
