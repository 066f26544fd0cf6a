"""Label and field selector of a request as one predicate over objects (api-machinery 9.6, 9.7)."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from homeport.api.resources import Gvk, Resource
from homeport.api.selectors import FieldSelector, LabelSelector, parse_field_selector, parse_label_selector
from homeport.server.objects import Tree

__all__ = ["EVERYTHING", "Selection", "parse"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a collection are meant. `name` is set when the field selector pins it, `node` a pod's node."""

    labels: LabelSelector | None = None
    fields: FieldSelector | None = None
    name: str | None = None
    node: str | None = None

    @property
    def everything(self) -> bool:
        return self.labels is None and self.fields is None

    def matches(self, tree: Tree) -> bool:
        if self.labels is not None and not self.labels.matches(tree["metadata"].get("labels")):
            return False
        return self.fields is None or self.fields.matches(tree)


EVERYTHING: Final = Selection()


def parse(resource: Resource, label_text: str, field_text: str) -> Selection:
    """Return the selection two query parameters ask for. Raises BadRequest."""
    if not label_text and not field_text:
        return EVERYTHING
    return _parse(resource.gvk, label_text, field_text)


@lru_cache(maxsize=1024)
def _parse(gvk: Gvk, label_text: str, field_text: str) -> Selection:
    labels, fields = parse_label_selector(label_text), parse_field_selector(field_text, gvk)
    node = fields.required("spec.nodeName") if (gvk.group, gvk.kind) == ("", "Pod") else None
    name = fields.required("metadata.name")
    return Selection(None if labels.empty else labels, None if fields.empty else fields, name, node)
