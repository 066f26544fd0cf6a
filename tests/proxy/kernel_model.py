"""A packet filter that understands just what the proxy says, and refuses what the kernel would refuse."""

import re

from homeport.proxy.kernel import NftablesError

_LINE = re.compile(r"(add|delete|flush|create) (set|chain|rule|element|table) ip homeport ?(\S*) ?(.*)")
_SHARED = ("services", "endpoints", "cluster-addresses", "hairpin")
_BASE = re.compile(r"(?ms)^table ip homeport \{.*?^\}\n")
_REFERENCE = re.compile(r"(?:goto |@)(\S+)")


class KernelModel:
    """Chains with rules, sets, and elements of the shared containers.

    `fail_next` makes transactions fail, `poison` those that contain it.
    """

    def __init__(self) -> None:
        self.chains: dict[str, list[str]] = {}
        self.sets: set[str] = set()
        self.elements: dict[tuple[str, str], str] = {}
        self.exists = False
        self.clients: dict[str, str] = {}
        self.standing: set[str] = set()
        self.log: list[str] = []
        self.failures = 0
        self.listing = ""
        self.poison = ""
        self.closed = False

    def fail_next(self, times: int = 1) -> None:
        self.failures += times

    async def apply(self, transaction: str) -> None:
        self.log.append(transaction)
        if self.failures:
            self.failures -= 1
            raise NftablesError("Device or resource busy")
        if self.poison and self.poison in transaction:
            raise NftablesError("Numerical result out of range")
        self.run(transaction)

    async def read(self, command: str) -> str:
        assert command == "list sets table ip homeport"
        return self.listing

    async def close(self) -> None:
        self.closed = True

    def run(self, transaction: str) -> None:
        before = (dict(self.chains), set(self.sets), dict(self.elements), self.exists)
        try:
            for text in _BASE.findall(transaction):
                self.standing = {*re.findall(r"(?:chain|set|map) (\S+) \{", text)}
            lines = _BASE.sub("", transaction).splitlines()
            for line in lines:
                self._line(line)
            self._check_references()
        except NftablesError:
            self.chains, self.sets, self.elements, self.exists = before
            raise

    def _line(self, line: str) -> None:
        match = _LINE.fullmatch(line)
        if match is None:
            raise NftablesError(f"syntax error: {line}")
        verb, kind, name, rest = match.groups()
        match (verb, kind):
            case ("create", "table"):
                _refuse(self.exists, "File exists")
                self.exists = True
            case ("add", "table"):
                self.exists = True
            case ("delete", "table"):
                self.chains, self.sets, self.elements = {}, set(), {}
            case ("add", "set"):
                _refuse(name in self.sets, f"set {name} exists")
                self.sets.add(name)
            case ("add", "chain"):
                _refuse(name in self.chains, f"chain {name} exists")
                self.chains[name] = []
            case ("add", "rule"):
                _refuse(name not in self.chains, f"no chain {name}")
                self.chains[name] = [*self.chains[name], rest]
            case ("flush", "chain"):
                _refuse(name not in self.chains, f"no chain {name}")
                self.chains[name] = []
            case ("delete", "chain"):
                _refuse(bool(self.chains.get(name, ["absent"])), f"chain {name} absent or not empty")
                _refuse(name in self._references(), f"chain {name} in use")
                del self.chains[name]
            case ("delete", "set"):
                _refuse(name not in self.sets or name in self._references(), f"set {name} absent or in use")
                self.sets.remove(name)
            case (_, "element"):
                self._change(verb, name, rest)

    def _change(self, verb: str, container: str, body: str) -> None:
        if container in self.sets:
            self.clients[container] = body
            return
        _refuse(container not in _SHARED, f"no container {container}")
        for entry in body.strip("{} ").split(", "):
            key, _, value = entry.partition(" : ")
            identity = (container, key)
            _refuse((identity in self.elements) != (verb == "delete"), f"{verb} element {identity}")
            if verb == "delete":
                del self.elements[identity]
            else:
                self.elements[identity] = value

    def _references(self) -> set[str]:
        texts = [rule for rules in self.chains.values() for rule in rules] + list(self.elements.values())
        found = {name.rstrip(",") for text in texts for name in _REFERENCE.findall(text)}
        return found - self.standing

    def _check_references(self) -> None:
        missing = self._references() - self.chains.keys() - self.sets
        _refuse(bool(missing), f"refers to nothing: {missing}")

    def same_as(self, other: "KernelModel") -> bool:
        return (self.chains, self.sets, self.elements) == (other.chains, other.sets, other.elements)


def _refuse(refused: bool, reason: str) -> None:
    if refused:
        raise NftablesError(reason)
