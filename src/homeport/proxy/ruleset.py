"""What the kernel holds of the Services, and the smallest transaction from there to what it shall hold. Pure.

Several Services may claim the same element or chain; everything is declared before it is referred to, and let go of
before it is deleted. `nftables` says what a Service contributes.
"""

from bisect import bisect_left, insort
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from homeport.proxy.dialect import IPV4, Dialect
from homeport.proxy.model import Key

__all__ = ["Compiled", "Element", "Ruleset"]


@dataclass(frozen=True, slots=True, order=True)
class Element:
    """A key in one of the shared maps and sets."""

    container: str
    key: str


@dataclass(frozen=True, slots=True)
class Compiled:
    """What one Service contributes: chains and sets of its own, shared chains, and elements of shared containers.

    elements  the value of each, empty for a set's
    """

    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sets: Mapping[str, str] = field(default_factory=dict)
    shared: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    elements: Mapping[Element, str] = field(default_factory=dict)

    @property
    def claimed(self) -> set[Element]:
        """What others may contribute as well."""
        return {*self.elements, *(Element(_CHAIN, name) for name in self.shared)}


_CHAIN: Final = ""
_NOTHING: Final = Compiled()


@dataclass(frozen=True, slots=True)
class Difference:
    """What counts for an element before and after a change; None where it is absent."""

    element: Element
    before: str | None
    after: str | None


class Ruleset:
    """What the kernel holds of the Services in one family.

    Two of them may claim the same element: the first by name has it.
    """

    def __init__(self, dialect: Dialect = IPV4) -> None:
        self._table = dialect.table
        self._services: dict[Key, Compiled] = {}
        self._claims: dict[Element, list[Key]] = {}  # in order

    @property
    def services(self) -> Mapping[Key, Compiled]:
        return MappingProxyType(self._services)

    def value(self, element: Element) -> str | None:
        """Return the value that counts for an element, or None when nobody has it."""
        owners = self._claims.get(element)
        return self._services[owners[0]].elements.get(element, "") if owners else None

    def change(self, changes: Mapping[Key, Compiled | None]) -> str:
        """Change, add or (None) remove Services, and return the transaction for it; "" when nothing differs.

        Everything is declared before it is referred to, and let go of before it is deleted. The cost follows from the
        changed Services alone.
        """
        changed = [(self._services.get(key, _NOTHING), after or _NOTHING) for key, after in changes.items()]
        touched = sorted({element for pair in changed for compiled in pair for element in compiled.claimed})
        before = [self.value(element) for element in touched]
        for key, after in changes.items():
            self._put(key, after)
        differing = [
            Difference(element, old, new)
            for element, old in zip(touched, before, strict=True)
            if old != (new := self.value(element))
        ]
        return "".join(line + "\n" for line in self._lines(changed, differing))

    def _put(self, key: Key, compiled: Compiled | None) -> None:
        before, after = self._services.pop(key, _NOTHING), compiled or _NOTHING
        if compiled is not None:
            self._services[key] = compiled
        for element in before.claimed - after.claimed:
            owners = self._claims[element]
            del owners[bisect_left(owners, key)]
            if not owners:
                del self._claims[element]
        for element in after.claimed - before.claimed:
            insort(self._claims.setdefault(element, []), key)

    def _lines(self, changed: Sequence[tuple[Compiled, Compiled]], differing: Sequence[Difference]) -> Iterator[str]:
        shared = [one for one in differing if one.element.container == _CHAIN]
        fresh = [one.element for one in shared if one.before is None]
        unused = [one.element.key for one in shared if one.after is None]
        table = self._table
        for element in fresh:
            yield f"add chain {table} {element.key}"
        for before, after in changed:
            for name in _missing(after.sets, before.sets):
                yield f"add set {table} {name} {{ {after.sets[name]} }}"
            for name in _missing(after.chains, before.chains):
                yield f"add chain {table} {name}"
        for element in fresh:
            for rule in self._services[self._claims[element][0]].shared[element.key]:
                yield f"add rule {table} {element.key} {rule}"
        for before, after in changed:
            yield from _rule_lines(table, before, after)
        yield from _element_lines(table, [one for one in differing if one.element.container != _CHAIN])
        gone = [*unused, *(name for before, after in changed for name in _missing(before.chains, after.chains))]
        for name in gone:
            yield f"flush chain {table} {name}"
        for name in gone:
            yield f"delete chain {table} {name}"
        for before, after in changed:
            for name in _missing(before.sets, after.sets):
                yield f"delete set {table} {name}"


def _missing(names: Iterable[str], known: Container[str]) -> list[str]:
    return [name for name in names if name not in known]


def _rule_lines(table: str, before: Compiled, after: Compiled) -> Iterator[str]:
    for name, rules in after.chains.items():
        known = before.chains.get(name)
        if known == rules:
            continue
        if known is not None:
            yield f"flush chain {table} {name}"
        for rule in rules:
            yield f"add rule {table} {name} {rule}"


def _element_lines(table: str, differing: Iterable[Difference]) -> Iterator[str]:
    deleted: dict[str, list[str]] = {}
    added: dict[str, list[str]] = {}
    for one in differing:
        container, key = one.element.container, one.element.key
        if one.before is not None:
            deleted.setdefault(container, []).append(key)
        if one.after is not None:
            added.setdefault(container, []).append(f"{key} : {one.after}" if one.after else key)
    for verb, groups in (("delete", deleted), ("add", added)):
        for container, keys in groups.items():
            yield f"{verb} element {table} {container} {{ {', '.join(keys)} }}"
