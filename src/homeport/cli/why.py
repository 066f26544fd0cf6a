"""`why`: what a thing waits for, or why the cluster answers as it does."""

from typing import Any

import click

from homeport.cli.cluster import cluster_option, connected, directory_of, fail, not_running, run_async
from homeport.cli.looking import Look
from homeport.cli.moments import MOMENT, SECONDS, clock_time, length
from homeport.cli.objects import namespace_option
from homeport.cli.output import output_option, print_json
from homeport.cli.past import past
from homeport.clock import WallClock, milli_time


@click.command(short_help="Say what a thing waits for, and what shows it.")
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
    `homeport why conn web-0 db:5432` tells which endpoints a connection from a pod to a Service may reach.
    Exits with 1 when something is waited for or wrong.
    """
    if what in ("conn", "connection"):
        explaining = _connection(names, namespace, cluster, moment)
    else:
        if not names:
            what, _, rest = what.partition("/")
            names = (rest,)
        if len(names) != 1 or not names[0]:
            raise click.UsageError("say KIND/NAME, as in svc/web, or name DNS-NAME, or conn POD SERVICE")
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
        click.echo(explanation.sentence)
        for one in explanation.evidence:
            click.echo(f"  {one.object}: {one.says}")
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
            kind = resource_of(what).kind
            explain = {
                "HorizontalPodAutoscaler": explain_autoscaler,
                "Job": explain_job,
                "PersistentVolumeClaim": explain_claim,
                "Pod": explain_pod,
                "PodDisruptionBudget": explain_budget,
                "Service": explain_service,
            }.get(kind)
            if explain is None and kind not in WORKLOADS:
                others = "Jobs, autoscalers, budgets"
                raise fail(f"{what}: explained are names, pods, Services, claims, {others} and {', '.join(WORKLOADS)}")
            snapshot = await look.snapshot(namespace)
            return explain_workload(snapshot, kind, name) if explain is None else explain(snapshot, name)
        except ManifestError as error:
            raise fail(str(error)) from error
        except ApiError as error:
            raise fail(error.message) from error


async def _connection(words: tuple[str, ...], namespace: str, cluster: str, moment: float | None) -> Any:
    from homeport.engine.balancing import proxy_settings
    from homeport.errors import ApiError
    from homeport.explain.connections import explain_connection, wanted
    from homeport.explain.names import asked, explain_name

    try:
        connection = wanted(words)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    settings = directory_of(cluster).load()
    if settings is None:
        raise not_running(cluster)
    async with connected(cluster) as client:
        look = Look(client, settings.domain, moment)
        try:
            meanings = asked(connection.service, namespace, settings.domain)
            seen = {one: await look.snapshot(one) for one in {namespace, *(meaning.namespace for meaning in meanings)}}
        except ApiError as error:
            raise fail(error.message) from error
    there = [one for one in meanings if seen[one.namespace].find("Service", one.service) is not None]
    if not (there or meanings):
        return explain_name(connection.service, meanings, seen)
    meaning = (there or meanings)[0]
    return explain_connection(connection, seen[namespace], meaning, seen[meaning.namespace], proxy_settings(settings))
