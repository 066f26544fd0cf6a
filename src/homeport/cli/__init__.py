"""The command line."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the `homeport` command; Ctrl-C ends it quietly, even while it is still loading."""
    try:
        from homeport.cli.app import app

        app(prog_name="homeport")
    except KeyboardInterrupt:
        sys.exit(130)
