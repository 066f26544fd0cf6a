"""Lists as tables: the rows a server prints, for people."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from homeport.api.exchange import Request
from homeport.api.resources import Resource
from homeport.client.contract import Transport
from homeport.errors import error_from_status

__all__ = ["Column", "Row", "Table", "fetch_table"]

ACCEPT: Final = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


@dataclass(frozen=True, slots=True)
class Column:
    """`priority` above 0 is for wide output only."""

    name: str
    priority: int


@dataclass(frozen=True, slots=True)
class Row:
    """One object's cells as text."""

    namespace: str
    name: str
    cells: Sequence[str]


@dataclass(frozen=True, slots=True)
class Table:
    """A printed list. Source: api-machinery 14."""

    columns: Sequence[Column]
    rows: Sequence[Row]


class _HasTransport(Protocol):
    @property
    def transport(self) -> Transport: ...


async def fetch_table(
    client: _HasTransport, resource: Resource, namespace: str | None = None, *, label_selector: str = ""
) -> Table:
    """Return the printed list of a collection. Raises ApiError."""
    query = (("labelSelector", label_selector),) if label_selector else ()
    request = Request("GET", resource.path(namespace), query, {"accept": ACCEPT})
    response = await client.transport.send(request)
    tree = json.loads(response.body)
    if response.status != 200:
        raise error_from_status(response.status, tree)
    columns = [Column(c["name"], c.get("priority", 0)) for c in tree["columnDefinitions"]]
    rows = [
        Row(
            row["object"]["metadata"].get("namespace", ""),
            row["object"]["metadata"]["name"],
            ["<none>" if cell is None else str(cell) for cell in row["cells"]],
        )
        for row in tree["rows"] or ()
    ]
    return Table(columns, rows)
