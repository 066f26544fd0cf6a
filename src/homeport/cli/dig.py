"""`dig`: ask the cluster's DNS from the host, print the whole answer."""

import asyncio
import random
from typing import Any

import click

from homeport.cli.cluster import cluster_option, directory_of, fail, not_running, run_async
from homeport.cli.output import output_option, print_json


@click.command(short_help="Ask the cluster's DNS.")
@click.argument("name")
@click.argument("type_", metavar="[TYPE]", default="A")
@click.option("--short", is_flag=True, help="Only the data of the answers.")
@cluster_option
@output_option
def dig(name: str, type_: str, short: bool, cluster: str, output: str | None) -> None:
    """Ask the cluster's DNS: homeport dig web-0.nginx A. Short names are completed as in a pod of `default`."""
    seen = run_async(_dig(name, type_, cluster))
    if output == "json":
        print_json(seen)
    elif short:
        for record in seen["answer"]:
            click.echo(record["data"])
    else:
        _print(seen)
    if seen["status"] not in ("NOERROR",):
        raise click.exceptions.Exit(1)


async def _dig(name: str, type_: str, cluster: str) -> dict[str, Any]:
    from homeport.dns.presentation import as_json, parse_type
    from homeport.dns.records import Question
    from homeport.dns.search import candidates
    from homeport.dns.upstream import Resolver, Upstream

    directory = directory_of(cluster)
    settings, endpoint = directory.load(), directory.dns_endpoint()
    if settings is None or directory.process("control") is None:
        raise not_running(cluster)
    if endpoint is None:
        why = "was started without it" if not settings.runs("dns") else f"see {directory.logs}/dns.log"
        raise fail(f"cluster {cluster!r} serves no DNS now: {why}")
    try:
        kind = parse_type(type_)
    except ValueError as error:
        raise fail(str(error)) from error
    upstream = Upstream([Resolver(endpoint["host"], endpoint["port"])], random.Random())
    loop = asyncio.get_running_loop()
    for full in candidates(name, "default", settings.domain):
        started = loop.time()
        answer = await upstream.ask(Question(full, kind))
        if answer is not None and (answer.rcode != 3 or name.endswith(".")):
            break
    if answer is None:
        raise fail("no answer from the cluster's DNS")
    milliseconds = (loop.time() - started) * 1000
    server = f"{endpoint['host']}#{endpoint['port']}"
    return {**as_json(Question(full, kind), answer), "server": server, "milliseconds": round(milliseconds, 2)}


def _print(seen: dict[str, Any]) -> None:
    question = seen["question"]
    click.echo(
        f";; {question['name']} {question['type']}: {seen['status']},"
        f" server {seen['server']}, {seen['milliseconds']} ms"
    )
    for section in ("answer", "authority", "additional"):
        if seen[section]:
            click.echo(f";; {section}")
        for record in seen[section]:
            click.echo(f"{record['name']}\t{record['ttl']}\tIN\t{record['type']}\t{record['data']}")
