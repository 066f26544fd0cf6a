"""The hash of a pod template, which names ReplicaSets and revisions of DaemonSets: the same one upstream computes.

Upstream hashes a printout of its in-memory structure, so the printout is made here too: every field of a pod template
in the order of the structure, with its Go type, absent ones as `<nil>`. The layout is generated from the published Go
types of Kubernetes 1.36 (`tools/pod_template_layout.go`). Equality of templates never rests on the hash: it is a name.

Source: `workloads` 9.3; verified against recorded names.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from homeport.ids import fnv32a, safe_encode

__all__ = ["template_hash"]

_LAYOUT: Final = Path(__file__).with_name("pod_template_layout.json")
_ZERO_TIME: Final = "{Time:(time.Time){wall:(uint64)0 ext:(int64)0 loc:(*time.Location)<nil>}}"
_DECIMAL_SCALES: Final = {
    "n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18,
}  # fmt: skip
_BINARY_POWERS: Final = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}


def template_hash(template: Mapping[str, Any], collisions: int | None) -> str:
    """Return the hash of a pod template as the server serves it; `collisions` is the Deployment's collision count."""
    data = _struct("v1.PodTemplateSpec", template, typed=True).encode()
    if collisions is not None:
        data += collisions.to_bytes(4, "little") + bytes(4)
    return safe_encode(str(fnv32a(data)))


@cache
def _layout() -> dict[str, list[tuple[str, str, str, str]]]:
    """Return the fields by type: name, JSON name ("" when its fields are the parent's), Go type, shape."""
    raw = json.loads(_LAYOUT.read_text())
    return {name: [tuple(field) for field in fields] for name, fields in raw.items()}


def _struct(name: str, value: Mapping[str, Any], *, typed: bool = False) -> str:
    fields = (
        f"{go}:({go_type}){_value(shape, go_type, value.get(json_name) if json_name else value)}"
        for go, json_name, go_type, shape in _layout()[name]
    )
    body = "{" + " ".join(fields) + "}"
    return f"({name}){body}" if typed else body


def _value(shape: str, go_type: str, value: Any) -> str:
    if shape.startswith("*"):
        return "<nil>" if value is None else _value(shape[1:], go_type[1:], value)
    if shape.startswith("[]"):
        item = go_type[2:] if go_type.startswith("[]") else go_type
        return "[" + " ".join(_value(shape[2:], item, each) for each in value) + "]" if value else "<nil>"
    if shape.startswith("map:"):
        item = "resource.Quantity" if shape == "map:struct" else "string"
        pairs = (f"{key}:{_value(shape[4:], item, each)}" for key, each in sorted((value or {}).items()))
        return "map[" + " ".join(pairs) + "]" if value else "<nil>"
    match shape:
        case "bool":
            return "true" if value else "false"
        case "string":
            return value or ""
        case "struct":
            return _of_struct(go_type, value)
        case _:
            return str(value or 0)


def _of_struct(go_type: str, value: Any) -> str:
    match go_type:
        case "v1.Time":
            return _ZERO_TIME
        case "resource.Quantity":
            return _quantity("0" if value is None else str(value), absent=value is None)
        case "intstr.IntOrString":
            return _int_or_string(0 if value is None else value)
        case _:
            return _struct(go_type, value or {})


def _int_or_string(value: int | str) -> str:
    kind, number, text = (1, 0, value) if isinstance(value, str) else (0, value, "")
    return f"{{Type:(intstr.Type){kind} IntVal:(int32){number} StrVal:(string){text}}}"


def _quantity(text: str, *, absent: bool) -> str:
    """Print a quantity in its canonical text form."""
    number = text.rstrip("KMGTPEkmuni")
    suffix = text[len(number) :]
    shape = "DecimalSI"
    if suffix in _BINARY_POWERS:
        amount, scale, shape = int(number) * 1024 ** _BINARY_POWERS[suffix], 0, "BinarySI"
    elif "e" in number:
        mantissa, _, exponent = number.partition("e")
        amount, scale, shape = int(mantissa), int(exponent), "DecimalExponent"
    else:
        amount, scale = int(number), _DECIMAL_SCALES[suffix]
    if absent:
        text = shape = ""
    return (
        f"{{i:(resource.int64Amount){{value:(int64){amount} scale:(resource.Scale){scale}}} "
        f"d:(resource.infDecAmount){{Dec:(*inf.Dec)<nil>}} s:(string){text} Format:(resource.Format){shape}}}"
    )
