"""How strategic merge treats the fields of a type: which lists merge, by which key. The table is the schema's."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from homeport.api.resources import Gvk
from homeport.api.schema import Struct, kind_type, struct

__all__ = ["PLAIN", "MergeFacts", "Rule", "merge_facts"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One field: `merge` says that a list merges or a map's strategy is not `replace`; `key` is a list's merge key."""

    merge: bool
    replace: bool
    key: str
    below: "MergeFacts"


class MergeFacts:
    """The rules of one type's fields; what is not in the schema is plain: maps merge, lists are replaced."""

    def __init__(self, type_: Struct | None) -> None:
        self._type = type_

    @property
    def go_name(self) -> str:
        """The type's name as it appears in messages."""
        return "" if self._type is None else self._type.go_name

    def rule(self, name: str) -> Rule:
        """Return how field `name` merges."""
        return _rule(None if self._type is None else self._type.name, name)


PLAIN: Final = MergeFacts(None)


def merge_facts(gvk: Gvk) -> MergeFacts | None:
    """Return the facts of a built-in kind; None for kinds that strategic merge does not know."""
    type_ = kind_type(gvk)
    return None if type_ is None else MergeFacts(type_)


@lru_cache(maxsize=8192)
def _rule(type_name: str | None, name: str) -> Rule:
    field = None if type_name is None else struct(type_name).fields.get(name)
    if field is None:
        return Rule(False, False, "", PLAIN)
    inner = field.type.removeprefix("[]").removeprefix("{}")
    below = MergeFacts(struct(inner[1:])) if inner.startswith("@") and not field.type.startswith("{}") else PLAIN
    return Rule("merge" in field.patch_strategy, "replace" in field.patch_strategy, field.merge_key, below)
