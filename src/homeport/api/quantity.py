"""Quantities: `100m`, `1.5Gi`, `1e3` as exact numbers that remember their notation.

Comparison and arithmetic are exact; the text is canonical: no fraction, the largest suffix that allows that. Values
finer than 10^-9 round away from zero, as upstream. Source: Kubernetes `resource.Quantity`.
"""

import re
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from functools import lru_cache, total_ordering
from typing import Final

__all__ = ["NANO", "Format", "Quantity", "parse_quantity"]

_SYNTAX: Final = re.compile(r"([+-]?)([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]?|[eE][+-]?[0-9]+)\Z")
_SHAPE: Final = re.compile(r"[+-]?[0-9.]+[eEinumkKMGTP]*[-+]?[0-9]*\Z")
_REFUSAL: Final = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_SUFFIX: Final = {power: suffix for suffix, power in _DECIMAL.items()}
_BINARY_SUFFIX: Final = {power: suffix for suffix, power in _BINARY.items()}
NANO: Final = 10**9
LARGEST: Final = (2**63 - 1) * NANO
"""Beyond a 64-bit whole number, quantities are capped rather than refused."""


class Format(Enum):
    """How a quantity was written, and will be."""

    DECIMAL = "DecimalSI"
    BINARY = "BinarySI"
    EXPONENT = "DecimalExponent"


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """An exact number of billionths, and a notation. Equality, order and hash ignore the notation: `1Gi` = `1024Mi`."""

    nanos: int
    format: Format = Format.DECIMAL

    @classmethod
    def of(cls, number: int, format: Format = Format.DECIMAL) -> "Quantity":
        """Return a whole number as a quantity."""
        return cls(number * NANO, format)

    @property
    def value(self) -> int:
        """The number in whole units, rounded up (away from zero), as the scheduler counts bytes."""
        return _away_from_zero(self.nanos, NANO)

    @property
    def milli(self) -> int:
        """The number in thousandths, rounded up, as processor time is counted."""
        return _away_from_zero(self.nanos, 10**6)

    def __eq__(self, other: object) -> bool:
        return self.nanos == other.nanos if isinstance(other, Quantity) else NotImplemented

    def __lt__(self, other: "Quantity") -> bool:
        return self.nanos < other.nanos

    def __hash__(self) -> int:
        return hash(self.nanos)

    def __bool__(self) -> bool:
        return self.nanos != 0

    def __add__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.nanos + other.nanos, self.format if self.nanos else other.format)

    def __sub__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.nanos - other.nanos, self.format if self.nanos else other.format)

    def __str__(self) -> str:
        if not self.nanos:
            return "0"
        if self.format is Format.BINARY and abs(self.nanos) >= 1024 * NANO and not self.nanos % NANO:
            number, power = self.nanos // NANO, 0
            while number % 1024 == 0 and power < 60:
                number, power = number // 1024, power + 10
            return f"{number}{_BINARY_SUFFIX[power]}" if power else str(number)
        number, power = self.nanos, -9
        while number % 1000 == 0 and power < 18:
            number, power = number // 1000, power + 3
        if self.format is Format.EXPONENT:
            return f"{number}e{power}" if power else str(number)
        return f"{number}{_DECIMAL_SUFFIX[power]}"


@lru_cache(maxsize=4096)
def parse_quantity(text: str) -> Quantity:
    """Return the quantity a text means. Raises ValueError with the server's wording."""
    found = _SYNTAX.match(text)
    if found is None:
        raise ValueError("unable to parse quantity's suffix" if _SHAPE.match(text) else _REFUSAL)
    sign, digits, suffix = found.groups()
    whole, _, fraction = digits.partition(".")
    number = Fraction(int(f"{whole}{fraction}"), 10 ** len(fraction))
    if suffix in _BINARY:
        form, scale = Format.BINARY, Fraction(2 ** _BINARY[suffix])
    elif suffix in _DECIMAL:
        form, scale = Format.DECIMAL, Fraction(10) ** _DECIMAL[suffix]
    else:
        exponent = int(suffix[1:])
        if abs(exponent) > 1000:
            raise ValueError("unable to parse quantity's suffix")
        form, scale = Format.EXPONENT, Fraction(10) ** exponent
    exact = number * scale * NANO
    nanos = min(_away_from_zero(exact.numerator, exact.denominator), LARGEST)
    return Quantity(-nanos if sign == "-" else nanos, form)


def _away_from_zero(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator) if numerator > 0 else numerator // denominator
