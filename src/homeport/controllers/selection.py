"""The label selector of a workload, ready to be asked about objects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from homeport.api.selectors import LabelSelector, label_selector_from_object
from homeport.errors import BadRequest

__all__ = ["Selection", "selection_of"]


@dataclass(frozen=True, slots=True)
class Selection:
    """A selector asked about whole objects."""

    selector: LabelSelector

    @property
    def everything(self) -> bool:
        return self.selector.empty

    def matches(self, obj: Mapping[str, Any]) -> bool:
        return self.selector.matches(obj["metadata"].get("labels"))


def selection_of(owner: Mapping[str, Any]) -> Selection | None:
    """Return a workload's `spec.selector` ready for use; None when it makes no sense, and waiting would not help.

    A ReplicationController's is a plain map of labels.
    """
    selector = owner["spec"].get("selector")
    if owner["kind"] == "ReplicationController":
        selector = {"matchLabels": selector or {}}
    try:
        return Selection(label_selector_from_object(selector))
    except BadRequest:
        return None
