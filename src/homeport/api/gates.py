"""Feature gates: rules upstream has, too, but keeps switched off."""

from collections.abc import Iterable
from typing import Final

__all__ = ["GATES", "MAX_UNAVAILABLE_STATEFUL_SET", "parse_gates"]

MAX_UNAVAILABLE_STATEFUL_SET: Final = "MaxUnavailableStatefulSet"
"""Rolling updates of StatefulSets may take several pods at once (workloads 7.4)."""

GATES: Final = (MAX_UNAVAILABLE_STATEFUL_SET,)
"""Every gate there is; all of them are off by default in 1.36."""


def parse_gates(words: Iterable[str]) -> tuple[str, ...]:
    """Return the gates `Name=true` words open. Raises ValueError, which names what is there."""
    chosen: dict[str, bool] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in GATES:
            raise ValueError(f"feature gate {name!r} is not known here; there is {', '.join(GATES)}")
        if value.lower() not in ("true", "false"):
            raise ValueError(f"feature gate {name}: say {name}=true or {name}=false")
        chosen[name] = value.lower() == "true"
    return tuple(name for name, wanted in chosen.items() if wanted)
