"""The click application: every command in a module of its own, imported when it is called."""

from importlib import import_module
from typing import Any, Final

import click

__all__ = ["app"]

COMMANDS: Final = {
    "up": "up",
    "down": "down",
    "status": "status",
    "kubeconfig": "kubeconfig",
    "run": "run",
    "dig": "dig",
    "why": "why",
    "top": "top",
    "dns": "dns",
    "proxy": "proxy",
    "expose": "expose",
    "get": "objects",
    "apply": "objects",
    "delete": "objects",
    "logs": "objects",
    "exec": "execute",
    "image": "image",
    "doctor": "doctor",
}
"""Command → module below `homeport.cli`."""


class _Lazy(click.Group):
    """Imports a command's module only to run it or to show its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        attribute = "exec_" if cmd_name == "exec" else cmd_name
        command: click.Command = getattr(import_module(f"homeport.cli.{module}"), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; Ctrl-C ends it with exit code 130 and without a word."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(130)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        import difflib

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="homeport")
def app() -> None:
    """Stateful Kubernetes applications on one machine: names, storage, discovery, load balancing."""
