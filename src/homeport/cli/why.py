"""`why`: what a thing waits for, or why the cluster answers as it does."""

from dataclasses import replace
from typing import Any

import click

from homeport.cli.cluster import cluster_option, connected, directory_of, fail, not_running, run_async
from homeport.cli.looking import Look, elsewhere, owner_of, refuse_unknown
from homeport.cli.moments import MOMENT, SECONDS, clock_time, length
from homeport.cli.objects import namespace_option
from homeport.cli.output import folded, output_option, print_json, screen_columns
from homeport.cli.past import past
from homeport.clock import WallClock, milli_time


class _Arrows(click.Command):
    """Takes a `->` that stands alone for what it means, not for an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, ["→" if word == "->" else word for word in args])


@click.command(cls=_Arrows, short_help="Say what a thing waits for, and what shows it.")
@click.argument("what")
@click.argument("names", nargs=-1)
@namespace_option
@click.option("--since", type=SECONDS, metavar="DURATION", help="Also tell what changed lately, such as 30s or 2m.")
@click.option(
    "--at", "moment", type=MOMENT, metavar="MOMENT", help="As it was: 30s (ago), 15:04:05 or 2026-01-02T15:04:05Z."
)
@cluster_option
@output_option
def why(
    what: str,
    names: tuple[str, ...],
    namespace: str,
    since: float | None,
    moment: float | None,
    cluster: str,
    output: str | None,
) -> None:
    """Say what a thing waits for, and what shows it: homeport why pod/web-0, svc/web, statefulset/db, pvc/data-web-0.

    `homeport why name web-0.web.default.svc.cluster.local` tells why a DNS name resolves to what it does, or does not.
    `homeport why conn web-0 db:5432`, or 'web-0->db:5432', tells which endpoints a connection from a pod to a Service,
    or to an address, may reach. `--at 30s` tells how it was.
    Exits with 1 when something is waited for or wrong.
    """
    if what in ("conn", "connection"):
        explaining = _connection(names, namespace, cluster, moment)
    else:
        if not names:
            what, _, rest = what.partition("/")
            names = (rest,)
        if len(names) != 1 or not names[0]:
            raise click.UsageError("say KIND/NAME, as in svc/web or pod/web-0, or name DNS-NAME, or conn POD SERVICE")
        explaining = _why(what, names[0], namespace, cluster, moment)
    explanation = run_async(explaining)
    lately = None if since is None else run_async(past(what, names, namespace, cluster, since, moment))
    now = WallClock().now()
    if output == "json":
        at = {} if moment is None else {"at": milli_time(moment)}
        print_json({**at, **explanation.as_json(), **({} if lately is None else lately.as_json(now))})
    else:
        if moment is not None:
            click.echo(f"At {clock_time(moment)}, {length(now - moment)} ago:")
        columns = screen_columns()
        click.echo(folded(explanation.sentence, columns))
        for one in explanation.evidence:
            click.echo(folded(f"  {one.object}: {one.says}", columns))
        if lately is not None:
            lately.echo(now)
    if not explanation.fine:
        raise click.exceptions.Exit(1)


async def _why(what: str, name: str, namespace: str, cluster: str, moment: float | None) -> Any:
    from homeport.client.manifests import ManifestError, resource_of
    from homeport.errors import ApiError
    from homeport.explain import names
    from homeport.explain.autoscalers import explain_autoscaler
    from homeport.explain.budgets import explain_budget
    from homeport.explain.claims import explain_claim
    from homeport.explain.jobs import explain_job
    from homeport.explain.nodes import explain_node
    from homeport.explain.pods import explain_pod
    from homeport.explain.services import explain_service
    from homeport.explain.workloads import WORKLOADS, explain_workload

    settings = directory_of(cluster).load()
    if settings is None:
        raise not_running(cluster)
    domain = settings.domain
    async with connected(cluster) as client:
        look = Look(client, domain, moment)
        try:
            if what in ("name", "dns"):
                meanings = names.asked(name, namespace, domain)
                seen = {one.namespace: await look.snapshot(one.namespace) for one in meanings}
                return names.explain_name(name, meanings, seen)
            resource = resource_of(what)
            kind = resource.kind
            explain = {
                "HorizontalPodAutoscaler": explain_autoscaler,
                "Job": explain_job,
                "PersistentVolumeClaim": explain_claim,
                "Pod": explain_pod,
                "PodDisruptionBudget": explain_budget,
                "Service": explain_service,
            }.get(kind)
            if kind == "Node":
                if moment is not None:
                    raise fail("--at: how nodes were is not remembered")
                return explain_node(tuple((await client.list(resource)).items), name)
            if explain is None and kind not in WORKLOADS:
                known = f"pods, nodes, Services, claims, Jobs, autoscalers, budgets, {', '.join(WORKLOADS)}"
                raise fail(f"no {what} is explained; `homeport why` knows names, connections, {known}")
            if moment is None:
                await refuse_unknown(client, namespace)
            snapshot = await look.snapshot(namespace)
            found = explain_workload(snapshot, kind, name) if explain is None else explain(snapshot, name)
            if snapshot.find(kind, name) is None:
                return replace(found, evidence=(*found.evidence, *await elsewhere(client, resource, name)))
            return found
        except ManifestError as error:
            raise fail(str(error)) from error
        except ApiError as error:
            raise fail(error.message) from error


async def _connection(words: tuple[str, ...], namespace: str, cluster: str, moment: float | None) -> Any:
    from homeport.engine.balancing import proxy_settings
    from homeport.errors import ApiError
    from homeport.explain.connections import NO_WAY_OUT, explain_connection, explain_to_address
    from homeport.explain.names import asked, explain_name
    from homeport.explain.wanted import wanted

    try:
        connection = wanted(words)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    settings = directory_of(cluster).load()
    if settings is None:
        raise not_running(cluster)
    home, address, sides = connection.namespace or namespace, connection.address, proxy_settings(settings)
    async with connected(cluster) as client:
        look = Look(client, settings.domain, moment)
        try:
            if moment is None:
                await refuse_unknown(client, home)
            text = connection.service
            if address is not None:
                sides = [side for side in sides if side.version == address.version]
                nodes = [one for side in sides for one in side.node_addresses]
                kind, where, name = await owner_of(client, address, connection.port, nodes)
                if kind != "Service":
                    seen = await look.snapshot(where or home)
                    own = seen.find("Pod", name) if kind else None
                    return explain_to_address(connection, await look.snapshot(home), own, seen, sides)
                text = f"{name}.{where}.svc.{settings.domain}."
            meanings = asked(text, home, settings.domain)
            found = {one: await look.snapshot(one) for one in {home, *(meaning.namespace for meaning in meanings)}}
        except ApiError as error:
            raise fail(error.message) from error
    known = [one for one in meanings if found[one.namespace].find("Service", one.service) is not None]
    if not known and (len(meanings) != 1 or not found[meanings[0].namespace].exists):
        said = explain_name(connection.service, meanings, found)
        return replace(said, sentence=f"{said.sentence.rstrip('.')}, and {NO_WAY_OUT}.")
    meaning = (known or meanings)[0]
    here, there = found[home], found[meaning.namespace]
    if moment is not None:  # of then, neither rules nor connections are remembered
        return explain_connection(connection, here, meaning, there, sides)
    means, flows = await _means(cluster), await _flows(cluster)
    return explain_connection(connection, here, meaning, there, sides, means=means, flows=flows)


async def _flows(cluster: str) -> list[Any]:
    """Return the connections the kernel leads; none where it does not list them, `top` says why."""
    from homeport.engine.flows import FlowsError, cluster_flows

    try:
        return await cluster_flows(directory_of(cluster))
    except FlowsError:
        return []


async def _means(cluster: str) -> str:
    """Return what the cluster's proxy balances with; nothing where it is another program, or away."""
    from homeport.engine.proxy_client import ProxyAway, proxy_status

    try:
        return str((await proxy_status(directory_of(cluster)))["means"])
    except ProxyAway:
        return ""
