"""`exec`: a command in a running container."""

import sys

import click

from homeport.cli.cluster import cluster_option, connected, run_async


class _Remote(click.Command):
    """Options may stand before and after the pod when `--` says where the command begins; else only before it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" not in args:
            return super().parse_args(ctx, args)
        at = args.index("--")
        ctx.allow_interspersed_args, ctx.ignore_unknown_options = True, False
        rest = super().parse_args(ctx, args[:at])
        ctx.params["command"] = (*ctx.params["command"], *args[at + 1 :])
        return rest


@click.command(
    "exec",
    short_help="Run a command in a container.",
    cls=_Remote,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("-c", "--container", default="", help="Which container; the first when not given.")
@click.option("-i", "--stdin", "interactive", is_flag=True, help="Pass standard input on.")
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal.")
@click.option("-n", "--namespace", default="default", show_default=True, help="Which namespace.")
@cluster_option
@click.argument("pod")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def exec_(
    pod: str, command: tuple[str, ...], container: str, interactive: bool, tty: bool, namespace: str, cluster: str
) -> None:
    """Run COMMAND in a container of POD; ends with its exit code."""
    if not command:
        raise click.UsageError("name the command to run: homeport exec POD -- COMMAND…")
    sys.exit(run_async(_exec(pod.removeprefix("pod/"), command, container, interactive, tty, namespace, cluster)))


async def _exec(
    pod: str, command: tuple[str, ...], container: str, interactive: bool, tty: bool, namespace: str, cluster: str
) -> int:
    from homeport.api.resources import find
    from homeport.cli.cluster import directory_of, fail
    from homeport.cli.terminal import Terminal
    from homeport.client.remote_command import RemoteCommand
    from homeport.errors import ApiError

    query = [("command", word) for word in command]
    query += [("container", container)] if container else []
    query += [("stdout", "true"), ("stderr", "false" if tty else "true")]
    query += [("stdin", "true")] if interactive else []
    query += [("tty", "true")] if tty else []
    path = find("Pod").path(namespace, pod, "exec")
    async with connected(cluster):
        remote = RemoteCommand(directory_of(cluster).api_socket, path, query)
        try:
            with Terminal(raw=tty) as terminal:
                return await remote.run(terminal, pass_stdin=interactive)
        except ApiError as error:
            raise fail(error.message) from error
