"""Running, timing and writing down: what every measurement shares."""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.chart import svg

__all__ = ["RESULTS", "median", "percentile", "say", "write"]

RESULTS = Path(__file__).parent / "results"
_BEGAN = time.monotonic()


def say(text: str) -> None:
    """Tell whoever waits what is being measured."""
    print(f"  {time.monotonic() - _BEGAN:5.1f} s  {text}", file=sys.stderr, flush=True)


def median(values: Sequence[float]) -> float:
    """Return the median, to three significant digits: more would pretend."""
    return float(f"{statistics.median(values):.3g}")


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least value that so large a share of all does not exceed, to three significant digits."""
    ordered = sorted(values)
    return float(f"{ordered[min(len(ordered) - 1, int(len(ordered) * share))]:.3g}")


def write(name: str, figures: Mapping[str, Any], *, quick: bool = False) -> Path | None:
    """Write `results/<name>.json` and its chart `<name>.svg`, with what the figures were taken on, and print them.

    The figures of a quick run are printed and no more: they are not worth keeping.
    """
    machine = {"kernel": platform.release(), "python": platform.python_version(), "machine": platform.machine()}
    load = round(os.getloadavg()[0], 2)
    command = "python -m bench " + " ".join([name, *sys.argv[1:]])
    text = json.dumps({"name": name, "command": command, "on": machine, "load_average": load, **figures}, indent=2)
    print(text)
    if quick:
        return None
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(text + "\n")
    path.with_suffix(".svg").write_text(svg(name, figures))
    return path
