"""Node selectors, as they stand in the specs of pods and volumes: terms of expressions over a node's labels and name.

Source: Kubernetes API reference, NodeSelector; node 16.2.
"""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["matches_node_selector", "matches_node_term"]

Expression = Mapping[str, Any]


def matches_node_selector(selector: Mapping[str, Any] | None, labels: Mapping[str, str], name: str) -> bool:
    """Whether a NodeSelector takes the node: one of its terms must; None takes every node."""
    if selector is None:
        return True
    return any(matches_node_term(term, labels, name) for term in selector.get("nodeSelectorTerms") or ())


def matches_node_term(term: Mapping[str, Any], labels: Mapping[str, str], name: str) -> bool:
    """Whether a NodeSelectorTerm takes the node: all its expressions must; an empty term takes none."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    return _all_hold(expressions, labels) and _all_hold(fields, {"metadata.name": name})


def _all_hold(expressions: Sequence[Expression], values: Mapping[str, str]) -> bool:
    """Whether all expressions hold. An operator nobody knows holds for nothing."""
    return all(_holds(expression, values) for expression in expressions)


def _holds(expression: Expression, values: Mapping[str, str]) -> bool:
    value = values.get(expression["key"])
    wanted: Sequence[str] = expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return value in wanted
        case "NotIn":
            return value not in wanted
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return _compared(value, wanted, 1)
        case "Lt":
            return _compared(value, wanted, -1)
        case _:
            return False


def _compared(value: str | None, wanted: Sequence[str], sign: int) -> bool:
    try:
        return value is not None and len(wanted) == 1 and sign * (int(value) - int(wanted[0])) > 0
    except ValueError:
        return False
