"""Which cluster a command means, and a client for it."""

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from homeport.engine.directory import DataDirectory
from homeport.engine.settings import SettingsError, default_data_directory

__all__ = [
    "INTERRUPTED",
    "cluster_option",
    "connected",
    "directory_of",
    "down_command",
    "fail",
    "not_running",
    "run_async",
    "up_command",
]

T = TypeVar("T")

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended."""

cluster_option = click.option(
    "--name", "cluster", default="default", show_default=True, metavar="CLUSTER", help="Which cluster."
)


def fail(text: str, code: int = 1) -> click.ClickException:
    """Return the exception that ends a command with `Error: text`."""
    return _Failure(text, code)


class _Failure(click.ClickException):
    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.exit_code = code  # type: ignore[misc]  # click declares it on the class and reads it from the instance


def directory_of(cluster: str) -> DataDirectory:
    """Return the data directory of a cluster by name."""
    from homeport.engine.settings import ClusterSettings

    try:
        ClusterSettings(name=cluster)
    except SettingsError as error:
        raise fail(str(error)) from error
    return DataDirectory(Path(default_data_directory(cluster)))


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine; Ctrl-C, at whatever moment, ends it with exit code 130."""
    try:
        with _later_interrupt():
            runner = asyncio.Runner()
            runner.get_loop()
        with runner:
            return runner.run(main)
    except KeyboardInterrupt:
        main.close()
        raise click.exceptions.Exit(INTERRUPTED) from None


@contextmanager
def _later_interrupt() -> Iterator[None]:
    """Hold a Ctrl-C back until the block is done: an event loop must not be left half made."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@asynccontextmanager
async def connected(cluster: str) -> AsyncIterator[Any]:
    """Give a client of a running cluster. Ends the command with a clear error when none runs."""
    from homeport.client.http import HttpTransport
    from homeport.client.rest import RestClient
    from homeport.client.settings import unix_settings

    directory = directory_of(cluster)
    if directory.process("control") is None:
        raise not_running(cluster)
    transport = HttpTransport(unix_settings(str(directory.api_socket)))
    try:
        yield RestClient(transport, "homeport", field_validation="Strict", on_warning=_warn)
    except OSError as error:
        raise fail(f"cluster {cluster!r} does not answer ({error}); see {directory.logs}/control.log") from error
    finally:
        await transport.close()


def not_running(cluster: str) -> click.ClickException:
    """Return the error of a command that needs a running cluster."""
    return fail(f"cluster {cluster!r} is not running; start it with `{up_command(cluster)}`")


def up_command(cluster: str) -> str:
    """Return the command that starts a cluster, as a person would type it."""
    return "homeport up" if cluster == "default" else f"homeport up --name {cluster}"


def down_command(cluster: str) -> str:
    """Return the command that stops a cluster, as a person would type it."""
    return "homeport down" if cluster == "default" else f"homeport down --name {cluster}"


def _warn(text: str) -> None:
    click.echo(f"Warning: {text}", err=True)
