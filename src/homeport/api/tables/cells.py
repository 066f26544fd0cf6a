"""What printers share: column definitions, ages, lists cut short, labels and selectors as text."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from homeport.api.selectors import label_selector_from_object
from homeport.clock import parse_time
from homeport.errors import BadRequest

__all__ = [
    "AGE",
    "NAME",
    "NONE",
    "PLAIN",
    "Printer",
    "age",
    "column",
    "containers",
    "human_duration",
    "labels_text",
    "selector_text",
    "since",
    "some",
    "wide",
]

Tree = Mapping[str, Any]
Cells = list[Any]
Column = tuple[str, str, str, int]

NONE: Final = "<none>"
UNKNOWN: Final = "<unknown>"
SHOWN: Final = 3

NAME: Final[Column] = ("Name", "string", "name", 0)
AGE: Final[Column] = ("Age", "string", "", 0)


@dataclass(frozen=True, slots=True)
class Printer:
    """One kind's columns, its cells as a function of object and time, and the marks of its rows."""

    columns: Sequence[Column]
    cells: Callable[[Tree, float], Cells]
    marks: Callable[[Tree], list[dict[str, str]]] | None = None


def column(name: str, kind: str, form: str, priority: int) -> dict[str, Any]:
    return {"name": name, "type": kind, "format": form, "description": "", "priority": priority}


def narrow(name: str, kind: str = "string") -> Column:
    return (name, kind, "", 0)


def wide(name: str) -> Column:
    """A column shown only on request."""
    return (name, "string", "", 1)


def human_duration(seconds: float) -> str:
    """Return a duration the way kubectl shows ages (14.7): the finer unit only while it matters."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return f"{minutes}m{whole % 60}s" if whole % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    years = days // 365
    if years < 8:
        return f"{years}y{days % 365}d" if days % 365 else f"{years}y"
    return f"{years}y"


def since(timestamp: str | None, now: float) -> str:
    """Return the age of an RFC 3339 time."""
    return human_duration(now - parse_time(timestamp)) if timestamp else UNKNOWN


def age(tree: Tree, now: float) -> str:
    return since(tree["metadata"].get("creationTimestamp"), now)


def labels_text(labels: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def selector_text(selector: Tree | None) -> str:
    """Return a `LabelSelector` in selector syntax."""
    if not selector:
        return NONE
    try:
        return str(label_selector_from_object(selector)) or NONE
    except BadRequest:
        return "<error>"


def containers(spec: Tree) -> tuple[str, str]:
    """Return container names and images of a pod spec, each joined by commas."""
    listed = spec.get("containers") or ()
    return ",".join(c.get("name", "") for c in listed), ",".join(c.get("image", "") for c in listed)


def some(items: Iterable[str], empty: str) -> str:
    """Join the first few items; say how many more there are."""
    listed = list(items)
    if not listed:
        return empty
    more = len(listed) - SHOWN
    return ",".join(listed[:SHOWN]) + (f" + {more} more..." if more > 0 else "")


def _plain_cells(tree: Tree, now: float) -> Cells:
    return [tree["metadata"].get("name", ""), tree["metadata"].get("creationTimestamp")]


PLAIN: Final = Printer((NAME, ("Created At", "date", "", 0)), _plain_cells)
