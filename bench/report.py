"""Running, timing and writing down: what every measurement shares."""

import json
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.chart import svg

__all__ = ["RESULTS", "median", "write"]

RESULTS = Path(__file__).parent / "results"


def median(values: Sequence[float]) -> float:
    """Return the median, to three significant digits: more would pretend."""
    return float(f"{statistics.median(values):.3g}")


def write(name: str, figures: Mapping[str, Any]) -> Path:
    """Write `results/<name>.json` and its chart `<name>.svg`, with what the figures were taken on, and print them."""
    RESULTS.mkdir(exist_ok=True)
    machine = {"kernel": platform.release(), "python": platform.python_version(), "machine": platform.machine()}
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"name": name, "on": machine, **figures}, indent=2) + "\n")
    path.with_suffix(".svg").write_text(svg(name, figures))
    print(path.read_text(), end="")
    return path
