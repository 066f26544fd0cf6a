"""`dig`: ask the cluster's DNS from the host, print the answer as dig does, and who stands behind each record."""

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Any, Final

import click

from homeport.cli.cluster import cluster_option, connected, directory_of, fail, not_running, run_async
from homeport.cli.objects import namespace_option
from homeport.cli.output import fitting, output_option, print_json, screen_columns
from homeport.clock import WallClock

_FLAGS: Final = (("qr", 1 << 15), ("aa", 1 << 10), ("tc", 1 << 9), ("rd", 1 << 8), ("ra", 1 << 7), ("ad", 1 << 5))
_SECTIONS: Final = ("answer", "authority", "additional")
_FOR_RECORDS: Final = frozenset(("Service", "EndpointSlice", "Pod"))
"""The kinds that records lead to; why there are none takes all."""
PATIENCE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked: a name, as typed or of an address, and a type."""

    name: str
    type: str


@click.command(short_help="Ask the cluster's DNS, and see who stands behind each record.")
@click.argument("words", nargs=-1, required=True, metavar="NAME [TYPE] [+short]")
@click.option("-x", "reverse", is_flag=True, help="Ask for the name of an address.")
@click.option("--short", is_flag=True, help="Only the data of the answers; +short is understood as well.")
@namespace_option
@cluster_option
@output_option
def dig(words: tuple[str, ...], reverse: bool, short: bool, namespace: str, cluster: str, output: str | None) -> None:
    """Ask the cluster's DNS: homeport dig web-0.nginx, homeport dig _http._tcp.web SRV, homeport dig -x 10.244.0.2.

    Short names are completed as in a pod of the namespace. After each record stands who it leads to; where there is
    none, why. Exits with 1 when the status is not NOERROR.
    """
    short = short or "+short" in words
    try:
        wanted = read_words([word for word in words if word != "+short"], reverse=reverse)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    seen = run_async(_dig(wanted, namespace, cluster, explained=not short or output == "json"))
    if output == "json":
        print_json(seen)
    else:
        columns = screen_columns()
        texts = (
            ["\n".join(short_lines(seen))] if short else ["\n".join(lines(seen, below=one)) for one in (False, True)]
        )
        click.echo(fitting(texts, columns), nl=bool(texts[0]))
    if seen["status"] != "NOERROR":
        raise click.exceptions.Exit(1)


def read_words(words: Sequence[str], *, reverse: bool) -> Wanted:
    """Return what `NAME`, `NAME TYPE` or `TYPE NAME` ask for. Raises ValueError."""
    from homeport.dns.presentation import parse_type

    strange = [word for word in words if word.startswith(("+", "@"))]
    if strange:
        raise ValueError(f"{strange[0]}: not known here; for all of dig's options, `homeport run -- dig …` asks inside")
    if reverse:
        if len(words) != 1:
            raise ValueError("-x takes one address")
        try:
            return Wanted(f"{ip_address(words[0]).reverse_pointer}.", "PTR")
        except ValueError:
            raise ValueError(f"{words[0]!r} is no address") from None
    match list(words):
        case [name]:
            return Wanted(name, "A")
        case [first, second] if _is_type(first) and not _is_type(second):
            return Wanted(second, first)
        case [name, kind]:
            parse_type(kind)
            return Wanted(name, kind)
    raise ValueError("say NAME, or NAME TYPE, as in web-0.nginx AAAA")


def _is_type(word: str) -> bool:
    from homeport.dns.presentation import parse_type

    try:
        parse_type(word)
    except ValueError:
        return False
    return True


async def _dig(wanted: Wanted, namespace: str, cluster: str, *, explained: bool) -> dict[str, Any]:
    from homeport.dns.exchange import Resolver, exchange
    from homeport.dns.message import FormatError
    from homeport.dns.presentation import as_json, parse_type
    from homeport.dns.records import Question
    from homeport.dns.search import candidates

    directory = directory_of(cluster)
    settings, endpoint = directory.load(), directory.dns_endpoint()
    if settings is None or directory.process("control") is None:
        raise not_running(cluster)
    if endpoint is None:
        why = "was started without it" if not settings.runs("dns") else f"see {directory.logs}/dns.log"
        raise fail(f"cluster {cluster!r} serves no DNS now: {why}")
    try:
        kind, names = parse_type(wanted.type), candidates(wanted.name, namespace, settings.domain)
    except ValueError as error:
        raise fail(str(error)) from error
    resolver = Resolver(endpoint["host"], endpoint["port"])
    loop = asyncio.get_running_loop()
    tried: list[dict[str, str]] = []
    for full in names:
        started = loop.time()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                header, answer = await exchange(resolver, Question(full, kind), random.Random())
        except (OSError, TimeoutError, FormatError, EOFError) as error:
            said = str(error) or f"nothing within {PATIENCE_SECONDS:g} s"
            raise fail(f"no answer from the cluster's DNS at {resolver.host}#{resolver.port}: {said}") from error
        seen = as_json(Question(full, kind), answer)
        if answer.rcode != 3:
            break
        tried.append({"name": seen["question"]["name"], "status": seen["status"]})
    if seen["status"] == "NXDOMAIN":
        tried.pop()
    milliseconds = round((loop.time() - started) * 1000, 2)
    flags = [name for name, bit in _FLAGS if header.flags & bit]
    seen |= {"id": header.id, "flags": flags, "tried": tried}
    server, now = f"{resolver.host}#{resolver.port}", datetime.fromtimestamp(WallClock().now()).astimezone()
    seen |= {"server": server, "milliseconds": milliseconds, "time": f"{now:%a %b %d %H:%M:%S %Z %Y}"}
    return await _explained(seen, wanted, namespace, settings.domain, cluster) if explained else seen


async def _explained(seen: dict[str, Any], wanted: Wanted, namespace: str, domain: str, cluster: str) -> dict[str, Any]:
    """Add who stands behind each record, or why there is none."""
    from homeport.cli.looking import Look
    from homeport.errors import ApiError
    from homeport.explain.names import asked
    from homeport.explain.records import behind, namespaces_of, nothing_clause

    records = [record for section in _SECTIONS for record in seen[section]]
    meanings = [] if seen["answer"] else asked(wanted.name, namespace, domain)
    wanted_namespaces = namespaces_of(records, domain) | {one.namespace for one in meanings}
    try:
        async with connected(cluster) as client:
            look = Look(client, domain, None)
            kinds = {} if meanings else {"kinds": _FOR_RECORDS}
            snapshots = {one: await look.snapshot(one, **kinds) for one in sorted(wanted_namespaces)}
    except ApiError as error:
        raise fail(error.message) from error
    told = {
        section: [_with(record, behind(record, snapshots, domain)) for record in seen[section]] for section in _SECTIONS
    }
    why = "" if seen["answer"] else nothing_clause(wanted.name, seen["question"]["type"], namespace, snapshots, domain)
    return {**seen, **told, "why": why}


def _with(record: Mapping[str, Any], found: Any) -> dict[str, Any]:
    return {**record, "behind": None if found is None else found.as_json()}


def short_lines(seen: Mapping[str, Any]) -> Iterator[str]:
    """Yield the data of the answers."""
    yield from (record["data"] for record in seen["answer"])


def lines(seen: Mapping[str, Any], *, below: bool = False) -> Iterator[str]:
    """Yield a reply as dig prints it; comments after the records, or below them, say who stands behind them."""
    question = seen["question"]
    counts = ", ".join(f"{section.upper()}: {len(seen[section])}" for section in _SECTIONS)
    yield from (f"; <<>> homeport dig <<>> {question['name']} {question['type']}", ";; Got answer:")
    yield f";; ->>HEADER<<- opcode: QUERY, status: {seen['status']}, id: {seen['id']}"
    yield f";; flags: {' '.join(seen['flags'])}; QUERY: 1, {counts}"
    if seen["tried"]:
        yield f";; tried before: {', '.join(one['name'] for one in seen['tried'])}"
    yield from ("", ";; QUESTION SECTION:", f";{question['name']}\tIN\t{question['type']}")
    for section in _SECTIONS:
        if seen[section]:
            yield from ("", f";; {section.upper()} SECTION:")
            yield from _told(seen[section], below=below)
    if seen["why"]:
        yield from ("", f";; WHY: {seen['why']}")
    yield from ("", f";; Query time: {seen['milliseconds']:g} msec", f";; SERVER: {seen['server']}")
    yield f";; WHEN: {seen['time']}"


def _told(records: Sequence[Mapping[str, Any]], *, below: bool) -> Iterator[str]:
    texts = [f"{one['name']}\t{one['ttl']}\tIN\t{one['type']}\t{one['data']}" for one in records]
    width = max(map(len, texts))
    for text, record in zip(texts, records, strict=True):
        if record["behind"] is None:
            yield text
            continue
        comment = f"; {record['behind']['object']}, {record['behind']['says']}"
        yield from (text, f"  {comment}") if below else (f"{text.ljust(width)}\t{comment}",)
