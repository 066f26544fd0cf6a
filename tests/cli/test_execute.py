"""Where options of `exec` may stand, and where the command begins."""

from typing import Any

import click
import pytest

from homeport.cli.execute import exec_


def parsed(*words: str) -> dict[str, Any]:
    return exec_.make_context("exec", list(words)).params


@pytest.mark.parametrize(
    ("words", "command", "container"),
    [
        (("web-0", "--", "ls", "-l"), ("ls", "-l"), ""),
        (("web-0", "-c", "main", "--", "ls", "-c"), ("ls", "-c"), "main"),
        (("-c", "main", "web-0", "ls", "-c", "x"), ("ls", "-c", "x"), "main"),
        (("web-0", "sh", "-c", "echo --"), ("sh", "-c", "echo --"), ""),
        (("web-0", "--", "echo", "--", "-n"), ("echo", "--", "-n"), ""),
    ],
)
def test_the_command_is_taken_as_it_stands(words: tuple[str, ...], command: tuple[str, ...], container: str) -> None:
    seen = parsed(*words)
    assert (seen["pod"], seen["command"], seen["container"]) == ("web-0", command, container)


def test_a_mistyped_option_before_the_dashes_is_refused() -> None:
    with pytest.raises(click.UsageError, match="--containr"):
        parsed("web-0", "--containr", "main", "--", "ls")
