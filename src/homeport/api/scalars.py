"""Scalar values in the one form the server stores: times in UTC, base64 without line breaks, quantities canonical."""

import base64
import binascii
import re
from datetime import UTC, datetime
from decimal import ROUND_UP, Decimal, localcontext
from functools import lru_cache
from typing import Final

__all__ = [
    "canonical_bytes",
    "canonical_micro_time",
    "canonical_quantity",
    "canonical_time",
    "decoded_length",
    "quantity_value",
]

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)\Z")
_QUANTITY: Final = re.compile(r"([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)\Z")
_QUANTITY_TEXT: Final = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_EXPONENT: Final = re.compile(r"[eE][+-]?\d{1,3}\Z")
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY: Final = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL_SUFFIX: Final = {power: suffix for suffix, power in _DECIMAL.items()}
_BINARY_SUFFIX: Final = {power: suffix for suffix, power in _BINARY.items()}
_NANO: Final = Decimal(1).scaleb(-9)


def canonical_time(text: str) -> str:
    """Return an RFC 3339 time in UTC with whole seconds; raises ValueError with the decoder's wording."""
    if len(text) == 20 and text[19] == "Z" and _TIME.match(text):
        return text
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
    try:
        return base64.b64encode(
            binascii.a2b_base64(text.replace("\n", "").replace("\r", ""), strict_mode=True)
        ).decode()
    except (binascii.Error, ValueError):
        raise ValueError(f"illegal base64 data at input byte {_bad_byte(text)}") from None


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
    """Return a quantity as the server writes it: `0.1` is `100m`, `1024Mi` is `1Gi`; raises ValueError.

    The notation is kept (decimal, binary or exponent) where it can say the value exactly; finer than 10^-9 rounds up.
    """
    number, suffix = _split(text)
    if suffix in _BINARY and abs(number) >= 1024 and number == number.to_integral_value():
        return _binary_text(int(number))
    return _decimal_text(number, exponent_style=suffix[:1] in ("e", "E") and suffix != "E")


@lru_cache(maxsize=4096)
def quantity_value(text: str) -> Decimal:
    """Return what a quantity amounts to, exactly; raises ValueError."""
    return _split(text)[0]


def _split(text: str) -> tuple[Decimal, str]:
    """Return the amount, in steps of 10^-9 and rounded up, and the suffix it was written with."""
    found = _QUANTITY.match(text)
    if found is None or found[1].count(".") > 1 or found[1].strip("+-") in ("", "."):
        raise ValueError(_QUANTITY_TEXT)
    with localcontext() as context:
        context.prec = 60
        number, suffix = Decimal(found[1]), found[2]
        if suffix in _BINARY:
            number *= 1024 ** _BINARY[suffix]
        elif suffix in _DECIMAL:
            number = number.scaleb(_DECIMAL[suffix])
        elif _EXPONENT.match(suffix):
            number = number.scaleb(int(suffix[1:]))
        else:
            raise ValueError("unable to parse quantity's suffix")
        return number.quantize(_NANO, rounding=ROUND_UP), suffix


def _binary_text(value: int) -> str:
    power = 0
    while value % 1024 == 0 and power < 6:
        value //= 1024
        power += 1
    return f"{value}{_BINARY_SUFFIX[power] if power else ''}"


def _decimal_text(value: Decimal, *, exponent_style: bool) -> str:
    if not value:
        return "0"
    sign, digits, exponent = value.normalize().as_tuple()
    assert isinstance(exponent, int)
    mantissa = int("".join(map(str, digits)))
    shift = exponent % 3
    mantissa *= 10**shift
    exponent -= shift
    if exponent > 18 and not exponent_style:
        mantissa *= 10 ** (exponent - 18)
        exponent = 18
    suffix = (f"e{exponent}" if exponent else "") if exponent_style else _DECIMAL_SUFFIX[exponent]
    return f"{'-' if sign else ''}{mantissa}{suffix}"
