"""The Kubernetes release whose behaviour is followed, as servers and nodes report it."""

from typing import Final

__all__ = ["KUBERNETES_VERSION"]

KUBERNETES_VERSION: Final = "v1.36.2"
