"""Names and hashes: generated suffixes, uids, and the hash that names revisions and ReplicaSets.

Randomness is an argument, so a seeded run repeats itself.
"""

import random
from typing import Final

__all__ = ["SUFFIX_ALPHABET", "fnv32", "fnv32a", "generate_name", "safe_encode", "suffix", "uid"]

SUFFIX_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"  # no vowels, nothing that looks like something else
SUFFIX_LENGTH: Final = 5
_UUID_KEPT: Final = ~((0xF << 76) | (0b11 << 62))  # all bits but those of version and variant
_UUID_VERSION_4: Final = (4 << 76) | (0b10 << 62)
GENERATED_PREFIX_LIMIT: Final = 63 - SUFFIX_LENGTH


def uid(rng: random.Random) -> str:
    """Return a version 4 UUID in its textual form."""
    bits = rng.getrandbits(128) & _UUID_KEPT | _UUID_VERSION_4
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def suffix(rng: random.Random, length: int = SUFFIX_LENGTH) -> str:
    """Return random characters fit for the end of a name."""
    return "".join(rng.choices(SUFFIX_ALPHABET, k=length))


def generate_name(prefix: str, rng: random.Random) -> str:
    """Return what `metadata.generateName` asks for: the prefix cut to 58 characters, then five random ones."""
    return prefix[:GENERATED_PREFIX_LIMIT] + suffix(rng)


def fnv32(data: bytes) -> int:
    """Return the 32-bit FNV-1 hash, the one behind `controller-revision-hash`."""
    value = 0x811C9DC5
    for byte in data:
        value = ((value * 0x01000193) & 0xFFFFFFFF) ^ byte
    return value


def fnv32a(data: bytes) -> int:
    """Return the 32-bit FNV-1a hash, the one behind `pod-template-hash`."""
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def safe_encode(text: str) -> str:
    """Map each character to one of the suffix alphabet, so that a hash never spells a word."""
    return "".join(SUFFIX_ALPHABET[ord(char) % len(SUFFIX_ALPHABET)] for char in text)
