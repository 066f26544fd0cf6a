"""The label selector of a workload, ready to be asked about objects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Selection", "selection_of"]


@dataclass(frozen=True, slots=True)
class _Requirement:
    key: str
    operator: str
    values: frozenset[str]

    def holds(self, labels: Mapping[str, str]) -> bool:
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case _:
                return self.key not in labels


@dataclass(frozen=True, slots=True)
class Selection:
    """All requirements must hold; none at all selects everything."""

    requirements: tuple[_Requirement, ...]

    @property
    def everything(self) -> bool:
        return not self.requirements

    def matches(self, obj: Mapping[str, Any]) -> bool:
        labels = obj["metadata"].get("labels") or {}
        return all(requirement.holds(labels) for requirement in self.requirements)


def selection_of(selector: Mapping[str, Any]) -> Selection | None:
    """Return a `spec.selector` ready for use; None when its operators make no sense."""
    found = [_Requirement(key, "In", frozenset([value])) for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        values = frozenset(expression.get("values") or ())
        operator = expression.get("operator", "")
        sensible = bool(values) if operator in ("In", "NotIn") else not values
        if operator not in ("In", "NotIn", "Exists", "DoesNotExist") or not sensible:
            return None
        found.append(_Requirement(expression.get("key", ""), operator, values))
    return Selection(tuple(found))
