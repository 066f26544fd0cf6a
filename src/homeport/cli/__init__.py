"""The command line."""

__all__ = ["main"]


def main() -> None:
    """Run the `homeport` command."""
    from homeport.cli.app import app

    app()
