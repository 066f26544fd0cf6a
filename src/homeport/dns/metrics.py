"""Counters in Prometheus' text form (exposition format 0.0.4).

Replies that are kept are counted by one addition each; everything finer is counted where a reply is made.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["Counts", "Sample", "render"]


@dataclass(slots=True)
class Counts:
    """What the server counts while it makes replies. `seconds` is the time it took, all told."""

    made: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    """(protocol, question type, response code) → replies; the type is 0 where the question could not be read."""
    seconds: float = 0.0
    changes: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """One metric: a name, its kind, what it says, and a value per set of labels."""

    name: str
    kind: str
    help: str
    values: Mapping[tuple[tuple[str, str], ...], float]


def render(samples: Iterable[Sample]) -> str:
    """Return the text a scraper reads."""
    return "".join(line + "\n" for sample in samples for line in _lines(sample))


def _lines(sample: Sample) -> Iterator[str]:
    yield f"# HELP {sample.name} {sample.help}"
    yield f"# TYPE {sample.name} {sample.kind}"
    for labels, value in sorted(sample.values.items()):
        inside = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels)
        yield f"{sample.name}{{{inside}}} {value:.17g}" if inside else f"{sample.name} {value:.17g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
