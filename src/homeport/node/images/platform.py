"""Which manifest of an index fits this machine (node 12.3 rule 3)."""

import platform
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["NoPlatform", "choose", "this_architecture"]

_ARCHITECTURES: Final = {
    "x86_64": ("amd64", ("",)),
    "aarch64": ("arm64", ("v8", "")),
    "armv7l": ("arm", ("v7", "v6", "v5", "")),
    "armv6l": ("arm", ("v6", "v5", "")),
    "i686": ("386", ("",)),
    "ppc64le": ("ppc64le", ("",)),
    "riscv64": ("riscv64", ("",)),
    "s390x": ("s390x", ("",)),
}


class NoPlatform(Exception):
    """No entry of the index fits."""


def this_architecture() -> tuple[str, Sequence[str]]:
    """Return the architecture's name in image terms and its variants, best first."""
    return _ARCHITECTURES.get(platform.machine(), (platform.machine(), ("",)))


def choose(manifests: Sequence[Mapping[str, Any]], architecture: str, variants: Sequence[str]) -> Mapping[str, Any]:
    """Return the descriptor for linux on `architecture`; an index of one without a platform is taken as it is.

    Raises NoPlatform.
    """
    real = [entry for entry in manifests if (entry.get("platform") or {}).get("architecture") != "unknown"]
    for variant in variants:
        for entry in real:
            wanted = entry.get("platform") or {}
            fits = wanted.get("os") == "linux" and wanted.get("architecture") == architecture
            if fits and wanted.get("variant", "") in (variant, "v1" if architecture == "amd64" else variant):
                return entry
    bare = [entry for entry in real if not entry.get("platform")]
    if len(bare) == 1:
        return bare[0]
    raise NoPlatform("no match for platform in manifest: not found")
