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


def selection_of(selector: Mapping[str, Any] | None) -> Selection | None:
    """Return a `spec.selector` ready for use; None when it makes no sense, and trying again would not help."""
    try:
        return Selection(label_selector_from_object(selector))
    except BadRequest:
        return None
