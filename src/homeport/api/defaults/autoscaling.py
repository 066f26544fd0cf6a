"""Defaults of HorizontalPodAutoscalers, in both their versions (workloads 21)."""

from typing import Any, Final

from homeport.api.autoscaling import default_metric, is_v1

__all__ = ["autoscaler"]

Tree = dict[str, Any]

_UP: Final = ({"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15})
_DOWN: Final = ({"type": "Percent", "value": 100, "periodSeconds": 15},)


def autoscaler(tree: Tree) -> None:
    """Behaviour that is given at all is filled in for both directions; only the window down stays open."""
    spec = tree["spec"]
    spec.setdefault("minReplicas", 1)
    if is_v1(tree):
        return  # its metrics are known only once its annotations were read
    if not spec.get("metrics"):
        spec["metrics"] = [default_metric()]
    behavior = spec.get("behavior")
    if behavior is None:
        return
    up, down = behavior.setdefault("scaleUp", {}), behavior.setdefault("scaleDown", {})
    up.setdefault("stabilizationWindowSeconds", 0)
    for rules, policies in ((up, _UP), (down, _DOWN)):
        rules.setdefault("selectPolicy", "Max")
        rules.setdefault("policies", [dict(policy) for policy in policies])
