"""Recorded behaviour of real servers, kept compressed beside the tests that replay it."""

import json
import lzma
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"


def topics(area: str) -> list[str]:
    """Return the topics of an area (`api`, `workloads`, `dns`), sorted."""
    return sorted(path.name.removesuffix(".json.xz") for path in (DATA / area).glob("*.json.xz"))


def load(area: str, topic: str) -> Any:
    """Return one topic's document."""
    with lzma.open(DATA / area / f"{topic}.json.xz") as file:
        return json.load(file)
