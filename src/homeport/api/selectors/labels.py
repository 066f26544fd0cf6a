"""Label selectors: the string form (`app in (web,db),!canary`), the object form, and matching.

The grammar and its messages are apimachinery's `labels.Parse`, token by token, because clients show them.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from homeport.api.selectors.syntax import label_key_errors, label_value_errors
from homeport.errors import BadRequest

__all__ = [
    "EVERYTHING",
    "NOTHING",
    "LabelSelector",
    "Requirement",
    "label_selector_from_object",
    "parse_label_selector",
]

Labels = Mapping[str, str]

_OBJECT_OPERATORS: Final = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
_INTEGER: Final = re.compile(r"[+-]?[0-9]+\Z")


def _integer(text: str) -> int | None:
    """Return a 64-bit integer in decimal, or None."""
    if not _INTEGER.match(text):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term. `operator` is one of `=`, `==`, `!=`, `in`, `notin`, `exists`, `!`, `gt`, `lt`; values are sorted."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(self.values)})"
            case "gt" | "lt":
                return f"{self.key}{'>' if self.operator == 'gt' else '<'}{self.values[0]}"
        return f"{self.key}{self.operator}{self.values[0]}"

    def matches(self, labels: Labels) -> bool:
        return _predicate(self)(labels)


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements must hold; without any, everything matches. `str()` is the canonical string form."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False
    _equal: tuple[tuple[str, str], ...] = field(default=(), compare=False, repr=False)
    _tests: tuple[Callable[[Labels], bool], ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def of(cls, requirements: Iterable[Requirement]) -> "LabelSelector":
        """Compile requirements: equalities are compared directly, the rest as predicates."""
        terms = tuple(sorted(requirements, key=lambda term: term.key))
        equal = tuple((term.key, term.values[0]) for term in terms if term.operator in ("=", "=="))
        tests = tuple(_predicate(term) for term in terms if term.operator not in ("=", "=="))
        return cls(terms, False, equal, tests)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The labels, with their values, that whatever matches must have."""
        return self._equal

    def matches(self, labels: Labels | None) -> bool:
        """Whether an object with these labels is meant."""
        if self.nothing:
            return False
        if labels is None:
            labels = {}
        for key, value in self._equal:
            if labels.get(key) != value:
                return False
        return all(test(labels) for test in self._tests)

    @property
    def empty(self) -> bool:
        """Matches everything, whatever its labels."""
        return not self.requirements and not self.nothing

    def __str__(self) -> str:
        return ",".join(str(term) for term in self.requirements)


EVERYTHING: Final = LabelSelector()
NOTHING: Final = LabelSelector(nothing=True)


def _predicate(term: Requirement) -> Callable[[Labels], bool]:
    key, values = term.key, frozenset(term.values)
    match term.operator:
        case "=" | "==" | "in":
            return lambda labels: labels.get(key) in values
        case "!=" | "notin":
            return lambda labels: labels.get(key) not in values
        case "exists":
            return lambda labels: key in labels
        case "!":
            return lambda labels: key not in labels
    bound, sign = int(term.values[0]), 1 if term.operator == "gt" else -1

    def beyond(labels: Labels) -> bool:
        number = _integer(labels.get(key, ""))
        return number is not None and (number - bound) * sign > 0

    return beyond


def label_selector_from_object(selector: Mapping[str, Any] | None) -> LabelSelector:
    """Return what a `LabelSelector` object means: absent is nothing, empty is everything. Raises BadRequest."""
    if selector is None:
        return NOTHING
    terms = [_requirement(key, "=", (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        operator = _OBJECT_OPERATORS.get(expression["operator"])
        if operator is None:
            raise BadRequest(f'"{expression["operator"]}" is not a valid label selector operator')
        terms.append(_requirement(expression["key"], operator, expression.get("values") or ()))
    return LabelSelector.of(terms)


@lru_cache(maxsize=1024)
def parse_label_selector(text: str) -> LabelSelector:
    """Return the selector a string means. Raises BadRequest with the server's message."""
    return LabelSelector.of(_Parser(text).selector()) if text else EVERYTHING


def _requirement(key: str, operator: str, values: Sequence[str]) -> Requirement:
    """Return a checked term. Raises BadRequest listing everything that is wrong with it."""
    errors = [f'key: Invalid value: "{key}": {"; ".join(wrong)}' for wrong in (label_key_errors(key),) if wrong]
    shown = "[" + ",".join(f'"{value}"' for value in values) + "]"
    if operator in ("in", "notin") and not values:
        errors.append(f"values: Invalid value: {shown}: for 'in', 'notin' operators, values set can't be empty")
    if operator in ("exists", "!") and values:
        errors.append(f"values: Invalid value: {shown}: values set must be empty for exists and does not exist")
    if operator in ("gt", "lt"):
        errors += [
            f"values[{number}]: Invalid value: \"{value}\": for 'Gt', 'Lt' operators, the value must be an integer"
            for number, value in enumerate(values)
            if _integer(value) is None
        ]
    for number, value in enumerate(values):
        if wrong := label_value_errors(value):
            errors.append(f'values[{number}][{key}]: Invalid value: "{value}": {"; ".join(wrong)}')
    if errors:
        raise BadRequest(errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]")
    return Requirement(key, operator, tuple(sorted(set(values))))


_TOKEN: Final = re.compile(r"[ \t\r\n]*(?:(==|!=|[=!<>(),])|([^=!<>(), \t\r\n]+))")
_EXACT: Final = {"=": "=", "==": "==", "!=": "!=", ">": "gt", "<": "lt"}
_NAMED: Final = {"in": "in", "notin": "notin"}
_END: Final = ("end", "")


class _Parser:
    """Recursive descent over (kind, literal) tokens: kind is `word`, `end`, or the symbol itself."""

    def __init__(self, text: str) -> None:
        self._tokens = [(symbol or "word", symbol or word) for symbol, word in _TOKEN.findall(text)]
        self._at = 0

    def selector(self) -> list[Requirement]:
        terms: list[Requirement] = []
        while True:
            kind, literal = self._peek()
            if kind == "end":
                return terms
            if kind not in ("word", "!"):
                raise BadRequest(f"found '{literal}', expected: !, identifier, or 'end of string'")
            try:
                terms.append(self._term())
            except BadRequest as error:
                raise BadRequest(f"unable to parse requirement: {error.message}") from None
            kind, literal = self._take()
            if kind == "end":
                return terms
            if kind != ",":
                raise BadRequest(f"found '{literal}', expected: ',' or 'end of string'")
            kind, literal = self._peek()
            if kind not in ("word", "!"):
                raise BadRequest(f"found '{literal}', expected: identifier after ','")

    def _term(self) -> Requirement:
        kind, key = self._take()
        absent = kind == "!"
        if absent:
            kind, key = self._take()
        if kind != "word":
            raise BadRequest(f"found '{key}', expected: identifier")
        if wrong := label_key_errors(key):
            raise BadRequest(f'<nil>: Invalid value: "{key}": {"; ".join(wrong)}')
        if absent:
            return _requirement(key, "!", ())
        if self._peek()[0] in ("end", ","):
            return _requirement(key, "exists", ())
        kind, literal = self._take()
        if kind in _EXACT:
            return _requirement(key, _EXACT[kind], (self._exact_value(),))
        if literal not in _NAMED:
            raise BadRequest(f"found '{literal}', expected: in, notin, =, ==, !=, gt, lt")
        return _requirement(key, _NAMED[literal], self._values())

    def _exact_value(self) -> str:
        if self._peek()[0] in ("end", ","):
            return ""
        kind, literal = self._take()
        if kind != "word":
            raise BadRequest(f"found '{literal}', expected: identifier")
        return literal

    def _values(self) -> list[str]:
        kind, literal = self._take()
        if kind != "(":
            raise BadRequest(f"found '{literal}' expected: '('")
        kind, literal = self._peek()
        if kind == ")":
            self._take()
            return [""]
        if kind not in ("word", ","):
            raise BadRequest(f"found '{literal}', expected: ',', ')' or identifier")
        values = self._value_list()
        kind, literal = self._take()
        if kind != ")":
            raise BadRequest(f"found '{literal}', expected: ')'")
        return sorted(values)

    def _value_list(self) -> set[str]:
        values: set[str] = set()
        while True:
            kind, literal = self._take()
            if kind == "word":
                values.add(literal)
                kind, literal = self._peek()
                if kind == ")":
                    return values
                if kind != ",":
                    raise BadRequest(f"found '{literal}', expected: ',' or ')'")
            elif kind == ",":
                if not values:
                    values.add("")
                kind, _ = self._peek()
                if kind == ")":
                    values.add("")
                    return values
                if kind == ",":
                    self._take()
                    values.add("")
            else:
                raise BadRequest(f"found '{literal}', expected: ',', or identifier")

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else _END

    def _take(self) -> tuple[str, str]:
        token = self._peek()
        self._at += 1
        return token
