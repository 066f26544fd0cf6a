"""Static names, as in a hosts file: answered before any zone. Source: hosts(5)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from homeport.dns.name import Name, fold, from_text
from homeport.dns.objects import Address
from homeport.dns.records import Answer, Question, Record, RRType, address_record

__all__ = ["HostTable", "read_hosts"]


@dataclass(frozen=True, slots=True)
class HostTable:
    """Addresses by folded name, and names by folded reverse name. `ttl` in seconds."""

    addresses: Mapping[Name, tuple[Address, ...]] = field(default_factory=dict)
    names: Mapping[Name, tuple[Name, ...]] = field(default_factory=dict)
    ttl: int = 30

    def answer(self, question: Question) -> Answer | None:
        """Return what the table says of a name, or None when it does not know it."""
        folded = fold(question.name)
        pointed = self.names.get(folded)
        if pointed is not None and question.type == RRType.PTR:
            return Answer(answer=tuple(Record(question.name, RRType.PTR, self.ttl, (name,)) for name in pointed))
        found = self.addresses.get(folded)
        if found is None:
            return None
        records = (address_record(question.name, address, self.ttl) for address in found)
        return Answer(answer=tuple(record for record in records if record.type == question.type))


def read_hosts(lines: Iterable[str], ttl: int = 30) -> HostTable:
    """Read the lines of a hosts file. Raises ValueError naming the line that is none."""
    addresses: dict[Name, list[Address]] = {}
    names: dict[Name, list[Name]] = {}
    for line in lines:
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            address = ip_address(words[0])
            found = [from_text(word) for word in words[1:]]
        except ValueError as error:
            raise ValueError(f"{line.strip()!r}: a line reads ADDRESS NAME…: {error}") from error
        if not found:
            raise ValueError(f"{line.strip()!r}: names nothing")
        names.setdefault(from_text(address.reverse_pointer), []).append(found[0])
        for name in found:
            addresses.setdefault(fold(name), []).append(address)
    return HostTable(
        {name: tuple(dict.fromkeys(given)) for name, given in addresses.items()},
        {name: tuple(dict.fromkeys(given)) for name, given in names.items()},
        ttl,
    )
