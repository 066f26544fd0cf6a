"""Events of two groups from one place: core v1 is stored, events.k8s.io is the same objects seen otherwise (23.1)."""

from collections.abc import Mapping
from typing import Final

from homeport.server.objects import Tree

__all__ = ["from_core", "to_core"]

_RENAMED: Final[Mapping[str, str]] = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_BACK: Final = {new: old for old, new in _RENAMED.items()}
_CORE_ALWAYS: Final[Tree] = {
    "involvedObject": {},
    "source": {},
    "firstTimestamp": None,
    "lastTimestamp": None,
    "eventTime": None,
    "reportingComponent": "",
    "reportingInstance": "",
}
_EVENTS_ALWAYS: Final[Tree] = {
    "regarding": {},
    "deprecatedSource": {},
    "deprecatedFirstTimestamp": None,
    "deprecatedLastTimestamp": None,
    "eventTime": None,
}
_EVENTS_OMIT_EMPTY: Final = ("reportingController", "reportingInstance")


def to_core(tree: Tree) -> Tree:
    """Return an events.k8s.io/v1 Event as core v1."""
    renamed = {_BACK.get(field, field): value for field, value in tree.items()}
    return {**_CORE_ALWAYS, **renamed, "apiVersion": "v1"}


def from_core(tree: Tree) -> Tree:
    """Return a core v1 Event as events.k8s.io/v1."""
    renamed = {_RENAMED.get(field, field): value for field, value in tree.items()}
    for field in _EVENTS_OMIT_EMPTY:
        if not renamed.get(field):
            renamed.pop(field, None)
    return {**_EVENTS_ALWAYS, **renamed, "apiVersion": "events.k8s.io/v1"}
