"""What the kernel holds of the Services, and the smallest transaction from there to what it shall hold. Pure.

Several Services may claim the same element or chain; everything is declared before it is referred to, and let go of
before it is deleted. `nftables` says what a Service contributes.
"""

from bisect import bisect_left, insort
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from homeport.proxy.dialect import IPV4, Dialect
from homeport.proxy.model import Key

__all__ = ["Compiled", "Element", "Ruleset", "element"]

Element: TypeAlias = str
"""A key in one of the shared maps and sets, `CONTAINER KEY`: there are hundreds of thousands, and text is cheap."""


def element(container: str, key: str) -> Element:
    """Return the element of a container that has a key."""
    return f"{container} {key}"


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
        return {*self.elements, *(element(_CHAIN, name) for name in self.shared)}


_CHAIN: Final = ""
_NOTHING: Final = Compiled()


class Difference(NamedTuple):
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
        self._owner: dict[Element, Key] = {}
        self._waiting: dict[Element, list[Key]] = {}  # those with a later name who claim it too, in order

    @property
    def services(self) -> Mapping[Key, Compiled]:
        return MappingProxyType(self._services)

    def value(self, one: Element) -> str | None:
        """Return the value that counts for an element, or None when nobody has it."""
        owner = self._owner.get(one)
        return None if owner is None else self._services[owner].elements.get(one, "")

    def put(self, changes: Mapping[Key, Compiled | None]) -> None:
        """Change, add or (None) remove Services; for whoever sets all of it anew."""
        for key, after in changes.items():
            self._put(key, after)

    def change(self, changes: Mapping[Key, Compiled | None]) -> str:
        """Change, add or (None) remove Services, and return the transaction for it; "" when nothing differs.

        Everything is declared before it is referred to, and let go of before it is deleted. The cost follows from the
        changed Services alone.
        """
        changed = [(self._services.get(key, _NOTHING), after or _NOTHING) for key, after in changes.items()]
        touched = sorted({one for pair in changed for compiled in pair for one in compiled.claimed})
        before = [self.value(one) for one in touched]
        self.put(changes)
        differing = [
            Difference(one, old, new)
            for one, old in zip(touched, before, strict=True)
            if old != (new := self.value(one))
        ]
        return "".join(line + "\n" for line in self._lines(changed, differing))

    def fill(self) -> str:
        """Return the transaction that puts all Services into a table that has none."""
        changed = [(_NOTHING, compiled) for compiled in self._services.values()]
        differing = [Difference(one, None, self.value(one)) for one in sorted(self._owner)]
        return "".join(line + "\n" for line in self._lines(changed, differing))

    def _put(self, key: Key, compiled: Compiled | None) -> None:
        before, after = self._services.pop(key, _NOTHING), compiled or _NOTHING
        if compiled is not None:
            self._services[key] = compiled
        had, has = before.claimed, after.claimed
        for one in had - has:
            self._let_go(one, key)
        for one in has - had:
            self._claim(one, key)

    def _claim(self, one: Element, key: Key) -> None:
        owner = self._owner.setdefault(one, key)
        if owner != key:
            self._owner[one] = min(owner, key)
            insort(self._waiting.setdefault(one, []), max(owner, key))

    def _let_go(self, one: Element, key: Key) -> None:
        waiting = self._waiting.get(one)
        if waiting is None:
            del self._owner[one]
            return
        if self._owner[one] == key:
            self._owner[one] = waiting.pop(0)
        else:
            del waiting[bisect_left(waiting, key)]
        if not waiting:
            del self._waiting[one]

    def _lines(self, changed: Sequence[tuple[Compiled, Compiled]], differing: Sequence[Difference]) -> Iterator[str]:
        shared = [one for one in differing if one.element.startswith(_SHARED)]
        fresh = [one.element.removeprefix(_SHARED) for one in shared if one.before is None]
        unused = [one.element.removeprefix(_SHARED) for one in shared if one.after is None]
        table = self._table
        for name in fresh:
            yield f"add chain {table} {name}"
        for before, after in changed:
            for name in _missing(after.sets, before.sets):
                yield f"add set {table} {name} {{ {after.sets[name]} }}"
            for name in _missing(after.chains, before.chains):
                yield f"add chain {table} {name}"
        for name in fresh:
            for rule in self._services[self._owner[element(_CHAIN, name)]].shared[name]:
                yield f"add rule {table} {name} {rule}"
        for before, after in changed:
            yield from _rule_lines(table, before, after)
        yield from _element_lines(table, differing)
        gone = [*unused, *(name for before, after in changed for name in _missing(before.chains, after.chains))]
        for name in gone:
            yield f"flush chain {table} {name}"
        for name in gone:
            yield f"delete chain {table} {name}"
        for before, after in changed:
            for name in _missing(before.sets, after.sets):
                yield f"delete set {table} {name}"


_SHARED: Final = element(_CHAIN, "")


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
    for one, before, after in differing:
        container, _, key = one.partition(" ")
        if container == _CHAIN:
            continue
        if before is not None:
            deleted.setdefault(container, []).append(key)
        if after is not None:
            added.setdefault(container, []).append(f"{key} : {after}" if after else key)
    for verb, groups in (("delete", deleted), ("add", added)):
        for container, keys in groups.items():
            yield f"{verb} element {table} {container} {{ {', '.join(keys)} }}"
