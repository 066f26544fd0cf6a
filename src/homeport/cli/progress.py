"""Progress on standard error: a live list on a terminal, one line per change elsewhere."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from homeport.client.readiness import Verdict

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

__all__ = ["Progress"]


class Progress:
    """Shows verdicts as they change, for as long as it is entered."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), transient=True, refresh_per_second=10)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, verdicts: Mapping[str, Verdict]) -> None:
        if self._live is not None:
            self._live.update(self._render(verdicts))
            return
        for name, one in verdicts.items():
            if one.ready and name not in self._said:  # a Service is so again and again while its pods come
                print(f"{name} ready", file=sys.stderr)
                self._said.add(name)

    @staticmethod
    def _render(verdicts: Mapping[str, Verdict]) -> "Table":
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for name, one in verdicts.items():
            mark = Text("✓", "green") if one.ready else Text("…", "yellow")
            table.add_row(
                mark, Text(name), Text(one.progress), Text(one.waits_for, "dim", overflow="ellipsis", no_wrap=True)
            )
        return table
