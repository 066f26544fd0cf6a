"""A DNS server's settings as people write them: `NAME=VALUE`, each name on its own, most of them more than once.

The same words serve `homeport up --dns NAME=VALUE` and the flags of `homeport dns`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from homeport.dns.exchange import Resolver
from homeport.dns.hostconf import HostResolvers
from homeport.dns.hosts import read_hosts
from homeport.dns.name import Name, fold, from_text
from homeport.dns.rewrite import Rewrite, parse_rewrite
from homeport.dns.settings import REVERSE_ROOTS, DnsSettings, Emulation, PodRecords

__all__ = ["OPTIONS", "DnsOptions", "Option", "OptionError", "parse_options", "parse_resolver"]

MAX_TTL: Final = 3600


class OptionError(ValueError):
    """An option that cannot be; the text names it and the remedy."""


@dataclass(frozen=True, slots=True)
class DnsOptions:
    """What one server does besides answering for its zone.

    upstream  servers for names of others, None for those of the host, empty for none
    stubs     servers of their own for these zones
    hosts     lines of a hosts file
    tls       serve DNS over TLS as well
    status    port on loopback for /health, /ready and /metrics; 0 for none
    log       write a line for every question; then no reply is kept, as each is to be seen
    """

    ttl: int = 5
    pods: PodRecords = PodRecords.INSECURE
    upstream: tuple[Resolver, ...] | None = None
    stubs: tuple[tuple[Name, tuple[Resolver, ...]], ...] = ()
    hosts: tuple[str, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()
    emulation: Emulation = field(default_factory=Emulation)
    transfer: bool = False
    tls: bool = False
    status: int = 0
    log: bool = False

    def settings(self, domain: str, own_addresses: tuple[str, ...]) -> DnsSettings:
        """Return the settings of a server for a cluster's domain and the reverse zones."""
        return DnsSettings(
            zones=(fold(from_text(domain)), *REVERSE_ROOTS),
            fallthrough=REVERSE_ROOTS,
            own_addresses=own_addresses,
            ttl=self.ttl,
            pods=self.pods,
            hosts=read_hosts(self.hosts, self.ttl),
            rewrites=self.rewrites,
            transfer=self.transfer,
            emulation=self.emulation,
        )

    def sources(self, without: Iterable[Resolver] = ()) -> dict[Name, Callable[[], tuple[Resolver, ...]]]:
        """Return whom to ask for which zone; `without` are this server's own addresses."""

        def fixed(found: tuple[Resolver, ...]) -> Callable[[], tuple[Resolver, ...]]:
            return lambda: found

        named = {zone: fixed(found) for zone, found in self.stubs}
        rest = HostResolvers(without=tuple(without)).current if self.upstream is None else fixed(self.upstream)
        return {(): rest, **named}


def parse_resolver(text: str) -> Resolver:
    """Read `ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT`. Raises ValueError."""
    from ipaddress import ip_address

    host, port = text, 53
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = _whole(rest.removeprefix(":"), 1, 65535) if rest else 53
    elif text.count(":") == 1:
        host, _, number = text.partition(":")
        port = _whole(number, 1, 65535)
    ip_address(host.partition("%")[0])
    return Resolver(host, port)


def _resolvers(text: str) -> tuple[Resolver, ...]:
    return tuple(parse_resolver(word) for word in text.split(",") if word)


def _whole(text: str, least: int, most: int) -> int:
    number = int(text)
    if not least <= number <= most:
        raise ValueError(f"{number} is not between {least} and {most}")
    return number


def _yes(text: str) -> bool:
    words = {"": True, "yes": True, "true": True, "no": False, "false": False}
    if text.lower() not in words:
        raise ValueError("say yes or no")
    return words[text.lower()]


def _stub(options: DnsOptions, text: str) -> dict[str, Any]:
    zone, separator, servers = text.partition("=")
    if not separator or not zone or not servers:
        raise ValueError("a stub zone reads ZONE=ADDRESS[:PORT],…")
    return {"stubs": (*options.stubs, (fold(from_text(zone)), _resolvers(servers)))}


def _host(options: DnsOptions, text: str) -> dict[str, Any]:
    read_hosts([text])
    return {"hosts": (*options.hosts, text)}


def _hosts_file(options: DnsOptions, text: str) -> dict[str, Any]:
    try:
        lines = tuple(Path(text).read_text("utf-8").splitlines())
    except OSError as error:
        raise ValueError(f"{text}: {error.strerror}") from error
    read_hosts(lines)
    return {"hosts": (*options.hosts, *lines)}


def _emulate(options: DnsOptions, **values: Any) -> dict[str, Any]:
    return {"emulation": replace(options.emulation, **values)}


@dataclass(frozen=True, slots=True)
class Option:
    """One name. `read` returns the fields that its value changes; raises ValueError."""

    name: str
    value: str
    help: str
    read: Callable[[DnsOptions, str], dict[str, Any]]
    many: bool = False
    """It may be given more than once."""


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number <= MAX_TTL:
        raise ValueError(f"{text} is not between 0 and {MAX_TTL}")
    return number


OPTIONS: Final = {
    option.name: option
    for option in (
        Option("ttl", "SECONDS", "TTL of the cluster's records.", lambda _, text: {"ttl": _whole(text, 0, MAX_TTL)}),
        Option(
            "pods",
            "MODE",
            "a-b-c-d.NS.pod names: disabled, insecure (any address) or verified.",
            lambda _, text: {"pods": PodRecords(text)},
        ),
        Option(
            "upstream",
            "ADDRESS[:PORT],…",
            "Servers for names outside; the host's by default, none when empty.",
            lambda _, text: {"upstream": _resolvers(text)},
        ),
        Option("stub", "ZONE=ADDRESS[:PORT],…", "Servers for one zone.", _stub, many=True),
        Option("host", "'ADDRESS NAME…'", "A static name, as in a hosts file.", _host, many=True),
        Option("hosts-file", "FILE", "Static names from a hosts file.", _hosts_file, many=True),
        Option(
            "rewrite",
            "KIND:OLD=NEW",
            "Take one name for another: exact:, prefix: (of the first label) or suffix:.",
            lambda options, text: {"rewrites": (*options.rewrites, parse_rewrite(text))},
            many=True,
        ),
        Option(
            "cache",
            "SECONDS",
            "Be as late as a cluster whose DNS has a cache of so many seconds.",
            lambda options, text: _emulate(options, cache=_whole(text, 0, MAX_TTL)),
        ),
        Option(
            "uncached",
            "ZONE",
            "A zone the emulated cache leaves alone.",
            lambda options, text: _emulate(options, uncached=(*options.emulation.uncached, fold(from_text(text)))),
            many=True,
        ),
        Option(
            "lag",
            "SECONDS",
            "See every change of endpoints so much later.",
            lambda options, text: _emulate(options, lag=_seconds(text)),
        ),
        Option("transfer", "", "Give whole zones (AXFR, IXFR) to whoever asks.", lambda _, t: {"transfer": _yes(t)}),
        Option("tls", "", "Serve DNS over TLS as well.", lambda _, text: {"tls": _yes(text)}),
        Option(
            "status",
            "PORT",
            "Serve /health, /ready and /metrics on this port of the loopback address.",
            lambda _, text: {"status": _whole(text, 0, 65535)},
        ),
        Option("log", "", "Log every question; slower, as no reply is kept.", lambda _, text: {"log": _yes(text)}),
    )
}


def parse_options(pairs: Iterable[str]) -> DnsOptions:
    """Read `NAME=VALUE` words, in order. Raises OptionError."""
    options = DnsOptions()
    for pair in pairs:
        name, _, value = pair.partition("=")
        option = OPTIONS.get(name)
        if option is None:
            raise OptionError(f"DNS option {name!r}: no such option; choose from {', '.join(OPTIONS)}")
        try:
            options = replace(options, **option.read(options, value))
        except ValueError as error:
            wanted = f"{name}={option.value}" if option.value else f"{name} or {name}=no"
            raise OptionError(f"DNS option {pair!r}: {error}; write {wanted}") from error
    return options
