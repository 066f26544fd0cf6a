"""Domain names as tuples of labels, in the spelling they arrived in; comparison is by their folded form.

`("web-0", "nginx")` as bytes: `(b"web-0", b"nginx")`. The root is the empty tuple. Source: RFC 1035, 3.1; RFC 4343.
"""

from typing import Final, TypeAlias

__all__ = ["MAX_LABEL", "MAX_NAME", "Name", "below", "fold", "from_text", "to_text", "wire_length"]

Name: TypeAlias = tuple[bytes, ...]

MAX_LABEL: Final = 63
MAX_NAME: Final = 255


def from_text(text: str) -> Name:
    """Read a plain dotted name such as the API keeps them (no escapes); the final dot is optional.

    Raises ValueError for empty or over-long labels and for names over 255 octets.
    """
    text = text.removesuffix(".")
    if not text:
        return ()
    name = tuple(label.encode() for label in text.split("."))
    if any(not label or len(label) > MAX_LABEL for label in name) or wire_length(name) > MAX_NAME:
        raise ValueError(f"not a domain name: {text!r}")
    return name


def to_text(name: Name) -> str:
    """Return the master-file form, absolute. Source: RFC 1035, 5.1."""
    return ".".join(_escape(label) for label in name) + "."


def _escape(label: bytes) -> str:
    return "".join(
        f"\\{chr(octet)}" if octet in b'."\\();@$' else chr(octet) if 0x21 <= octet < 0x7F else f"\\{octet:03d}"
        for octet in label
    )


def fold(name: Name) -> Name:
    """Return the form names are compared in: ASCII letters lowered, nothing else. Source: RFC 4343, 3."""
    return tuple(label.lower() for label in name)


def below(name: Name, zone: Name) -> bool:
    """Tell whether `name` is `zone` or lies below it; both already folded."""
    return not zone or name[-len(zone) :] == zone


def wire_length(name: Name) -> int:
    """Return the octets of the uncompressed name, the root's zero included."""
    return sum(map(len, name)) + len(name) + 1
