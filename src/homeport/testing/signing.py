"""The key simulated clusters sign service account tokens with."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = ["signing_key"]


@cache
def signing_key() -> "EllipticCurvePrivateKey":
    """Return it: everywhere the same, so that a token in a pod's files holds in every world made from its snapshot.

    It is no secret: whoever can reach a simulated cluster's API may do everything there.
    """
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.derive_private_key(int.from_bytes(b"no secret", "big"), ec.SECP256R1())
