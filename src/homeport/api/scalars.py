"""Scalar values in the one form the server stores: times in UTC, base64 without line breaks, quantities canonical."""

import base64
import binascii
import re
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final

from homeport.api.quantity import parse_quantity

__all__ = [
    "canonical_bytes",
    "canonical_micro_time",
    "canonical_quantity",
    "canonical_time",
    "decoded_length",
    "quantity_value",
]

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)\Z")


@lru_cache(maxsize=4096)
def canonical_time(text: str) -> str:
    """Return an RFC 3339 time in UTC with whole seconds; raises ValueError with the decoder's wording."""
    return _parse(text, "2006-01-02T15:04:05Z07:00").strftime("%Y-%m-%dT%H:%M:%SZ")


def canonical_micro_time(text: str) -> str:
    """Return an RFC 3339 time in UTC with six digits after the second; raises ValueError."""
    return _parse(text, "2006-01-02T15:04:05.000000Z07:00").strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _parse(text: str, layout: str) -> datetime:
    if found := _TIME.match(text):
        fraction, zone = found[1] or "", found[2]
        try:
            return datetime.fromisoformat(f"{text[:19]}{fraction[:7]}{'+00:00' if zone == 'Z' else zone}").astimezone(
                UTC
            )
        except ValueError:
            pass
    raise ValueError(f'parsing time "{text}" as "{layout}": cannot parse "{text}" as "2006"')


def canonical_bytes(text: str) -> str:
    """Return standard base64 without line breaks; raises ValueError with the decoder's wording."""
    bare = text.replace("\n", "").replace("\r", "")
    if len(bare) % 4 == 0:
        try:
            return base64.b64encode(binascii.a2b_base64(bare, strict_mode=True)).decode()
        except binascii.Error as error:
            raise ValueError(f"illegal base64 data at input byte {_bad_byte(text)}") from error
    raise ValueError(f"illegal base64 data at input byte {_bad_byte(text)}")


def _bad_byte(text: str) -> int:
    found = re.search(r"[^A-Za-z0-9+/\r\n]", text)
    if found and (found[0] != "=" or found.start() % 4 < 2):
        return found.start()
    return len(text) - len(text) % 4 if found is None else found.start()


def decoded_length(text: str) -> int:
    """Return how many bytes canonical base64 stands for."""
    return len(text) // 4 * 3 - text.count("=", -2)


@lru_cache(maxsize=4096)
def canonical_quantity(text: str) -> str:
    """Return a quantity as the server writes it: `0.1` is `100m`, `1024Mi` is `1Gi`; raises ValueError."""
    return str(parse_quantity(text))


@lru_cache(maxsize=4096)
def quantity_value(text: str) -> Decimal:
    """Return what a quantity amounts to, exactly; raises ValueError."""
    return Decimal(parse_quantity(text).nanos).scaleb(-9)
