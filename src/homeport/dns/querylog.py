"""One line per question, for whoever wants to see what an application asks."""

import logging
from typing import Any

from homeport.dns.message import FormatError, parse_query
from homeport.dns.name import to_text
from homeport.dns.presentation import type_text
from homeport.dns.records import Rcode

__all__ = ["log_answer"]

_log = logging.getLogger("homeport.dns.queries")


def log_answer(peer: Any, protocol: str, query: bytes, reply: bytes | None, seconds: float) -> None:
    """Write `10.244.0.5:41234 udp A pg-0.pg.db.svc.cluster.local. NOERROR 76 0.041ms`."""
    try:
        question = parse_query(query).question
        asked = f"{type_text(question.type)} {to_text(question.name)}"
    except FormatError as error:
        asked = f"? ({error})"
    said = "silence" if reply is None else f"{_code(reply)} {len(reply)}"
    where = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) and len(peer) >= 2 else "?"
    _log.info("%s %s %s %s %.3fms", where, protocol, asked, said, seconds * 1000)


def _code(reply: bytes) -> str:
    code = reply[3] & 0xF
    try:
        return Rcode(code).name
    except ValueError:
        return f"RCODE{code}"
