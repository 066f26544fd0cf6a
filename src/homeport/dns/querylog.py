"""One line per question, for whoever wants to see what an application asks."""

import logging
from typing import Any

from homeport.clock import Clock
from homeport.dns.message import FormatError, parse_query
from homeport.dns.name import to_text
from homeport.dns.presentation import type_text
from homeport.dns.records import Rcode

__all__ = ["QueryLog"]

_log = logging.getLogger("homeport.dns.queries")


class QueryLog:
    """Writes `10.244.0.5:41234 udp A pg-0.pg.db.svc.cluster.local. NOERROR 76 0.041ms`."""

    def __init__(self, clock: Clock) -> None:
        self.now = clock.now

    def answered(self, peer: Any, protocol: str, query: bytes, reply: bytes | None, started: float) -> None:
        """Take note of a reply, or of silence, to a question that came in at `started`, by `now`."""
        try:
            question = parse_query(query).question
            asked = f"{type_text(question.type)} {to_text(question.name)}"
        except FormatError as error:
            asked = f"? ({error})"
        said = "silence" if reply is None else f"{_code(reply)} {len(reply)}"
        where = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) and len(peer) >= 2 else "?"
        _log.info("%s %s %s %s %.3fms", where, protocol, asked, said, (self.now() - started) * 1000)


def _code(reply: bytes) -> str:
    code = reply[3] & 0xF
    try:
        return Rcode(code).name
    except ValueError:
        return f"RCODE{code}"
