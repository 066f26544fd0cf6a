"""Asking for one name and meaning another: the question is rewritten on its way in, the answer on its way out."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from homeport.dns.name import MAX_LABEL, MAX_NAME, Name, below, fold, from_text, wire_length
from homeport.dns.records import Answer, Record

__all__ = ["Match", "Rewrite", "parse_rewrite", "restore", "rewritten"]


class Match(Enum):
    """What of a name a rule looks at: all of it, the start of its first label, or its last labels."""

    EXACT = "exact"
    PREFIX = "prefix"
    SUFFIX = "suffix"


@dataclass(frozen=True, slots=True)
class Rewrite:
    """`old` is folded; `new` takes its place. A prefix is one label's beginning, kept as a name of one label."""

    match: Match
    old: Name
    new: Name

    def apply(self, name: Name) -> Name | None:
        """Return the other name, or None when the rule does not concern this one, or makes no name of it."""
        folded = fold(name)
        match self.match:
            case Match.EXACT:
                made = self.new if folded == self.old else None
            case Match.SUFFIX:
                made = (*name[: len(name) - len(self.old)], *self.new) if below(folded, self.old) else None
            case Match.PREFIX:
                (old,), (new,) = self.old, self.new
                made = (new + name[0][len(old) :], *name[1:]) if folded and folded[0].startswith(old) else None
        if made is None or wire_length(made) > MAX_NAME or any(not 0 < len(label) <= MAX_LABEL for label in made):
            return None
        return made


def parse_rewrite(text: str) -> Rewrite:
    """Read `exact:old.example=pg.db.svc.cluster.local`, `prefix:dev-=` or `suffix:…`. Raises ValueError."""
    kind, _, rest = text.partition(":")
    old, separator, new = rest.partition("=")
    try:
        match = Match(kind)
    except ValueError:
        raise ValueError(f"{text!r}: a rewrite starts with exact:, prefix: or suffix:") from None
    if not separator or not old:
        raise ValueError(f"{text!r}: a rewrite reads {kind}:OLD=NEW")
    if match is Match.PREFIX:
        if "." in old + new:
            raise ValueError(f"{text!r}: a prefix is the beginning of one label, without dots")
        return Rewrite(match, (old.lower().encode(),), (new.encode(),))
    return Rewrite(match, fold(from_text(old)), from_text(new))


def rewritten(name: Name, rules: Iterable[Rewrite]) -> Name | None:
    """Return what the first rule that concerns a name makes of it, or None."""
    for rule in rules:
        made = rule.apply(name)
        if made is not None:
            return made
    return None


def restore(answer: Answer, meant: Name, asked: Name) -> Answer:
    """Return the answer under the name that was asked for."""

    def rename(record: Record) -> Record:
        return replace(record, owner=asked) if record.owner == meant else record

    return replace(answer, answer=tuple(map(rename, answer.answer)))
