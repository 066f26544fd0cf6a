"""Answers as text people know from zone files. Source: RFC 1035, 5; RFC 3597, 5 for unknown types."""

import struct
from ipaddress import ip_address
from typing import Any

from homeport.dns.name import to_text
from homeport.dns.records import Answer, Question, Rcode, Record, RRType

__all__ = ["as_json", "parse_type", "rdata_text", "type_text"]


def type_text(kind: int) -> str:
    try:
        return RRType(kind).name
    except ValueError:
        return f"TYPE{kind}"


def parse_type(text: str) -> int:
    """Return the number of a type such as `SRV` or `TYPE99`. Raises ValueError naming those that are known."""
    word = text.upper()
    if word in RRType.__members__:
        return RRType[word]
    if word.startswith("TYPE") and word[4:].isdigit() and int(word[4:]) < 65536:
        return int(word[4:])
    raise ValueError(
        f"type {text!r} is not known; one of {', '.join(RRType.__members__)}, or TYPE followed by a number"
    )


def _names(record: Record) -> list[str]:
    return [to_text(part) for part in record.data if isinstance(part, tuple)]


def _octets(record: Record) -> bytes:
    return b"".join(part for part in record.data if isinstance(part, bytes))


def rdata_text(record: Record) -> str:
    """Return a record's data in master-file form."""
    raw, names = _octets(record), _names(record)
    match record.type:
        case RRType.A | RRType.AAAA:
            return str(ip_address(raw))
        case RRType.CNAME | RRType.NS | RRType.PTR:
            return names[0]
        case RRType.SRV:
            return "{} {} {} ".format(*struct.unpack("!HHH", raw)) + names[0]
        case RRType.MX:
            return f"{struct.unpack('!H', raw)[0]} {names[0]}"
        case RRType.SOA:
            return " ".join([*names, *map(str, struct.unpack("!5I", raw))])
        case RRType.TXT:
            return " ".join(_strings(raw))
    whole = raw if not names else b""
    return f"\\# {len(whole)} {whole.hex()}"


def _strings(raw: bytes) -> list[str]:
    texts: list[str] = []
    while raw:
        size = raw[0]
        escaped = raw[1 : 1 + size].decode("latin-1").replace("\\", "\\\\").replace('"', '\\"')
        texts.append(f'"{escaped}"')
        raw = raw[1 + size :]
    return texts


def _record(record: Record) -> dict[str, Any]:
    return {
        "name": to_text(record.owner),
        "ttl": record.ttl,
        "type": type_text(record.type),
        "data": rdata_text(record),
    }


def as_json(question: Question, answer: Answer) -> dict[str, Any]:
    """Return a reply as JSON: question, status, and the three sections."""
    try:
        status = Rcode(answer.rcode).name
    except ValueError:
        status = f"RCODE{answer.rcode}"
    return {
        "question": {"name": to_text(question.name), "type": type_text(question.type)},
        "status": status,
        "answer": [_record(record) for record in answer.answer],
        "authority": [_record(record) for record in answer.authority],
        "additional": [_record(record) for record in answer.additional],
    }
