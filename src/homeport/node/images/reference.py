"""Image references: `[registry[:port]/]path[:tag][@digest]` (node 12.1; grammar of the distribution project)."""

import re
from dataclasses import dataclass, replace
from typing import Final

__all__ = ["DEFAULT_REGISTRY", "InvalidReference", "Reference", "parse"]

DEFAULT_REGISTRY: Final = "docker.io"

_DOMAIN = re.compile(r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MAX_NAME: Final = 255


class InvalidReference(ValueError):
    """The text is no image reference; the message says why."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference in full: registry and tag filled in. `tag` is empty when only a digest names the image."""

    registry: str
    repository: str
    tag: str
    digest: str = ""

    @property
    def name(self) -> str:
        """`docker.io/library/nginx`."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar(self) -> str:
        """The shortest text for it, with its tag: `nginx:latest`."""
        name = self.name.removeprefix(f"{DEFAULT_REGISTRY}/library/").removeprefix(f"{DEFAULT_REGISTRY}/")
        return name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def pinned(self) -> str:
        """What goes behind `manifests/`: the digest when there is one (a tag beside it is ignored), else the tag."""
        return self.digest or self.tag

    def with_digest(self, digest: str) -> "Reference":
        return replace(self, tag="", digest=digest)

    def __str__(self) -> str:
        if self.digest:
            return f"{self.name}@{self.digest}"
        return f"{self.name}:{self.tag}"


def parse(text: str) -> Reference:
    """Return the full reference. Raises InvalidReference."""
    rest, _, digest = text.partition("@")
    if "@" in text and not _DIGEST.fullmatch(digest):
        raise InvalidReference("invalid reference format")
    first, slash, path = rest.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry = first
    else:
        registry, path = DEFAULT_REGISTRY, rest
    path, colon, tag = path.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise InvalidReference("invalid reference format")
    if not _DOMAIN.fullmatch(registry) or len(path) > _MAX_NAME:
        raise InvalidReference("invalid reference format")
    if not _PATH.fullmatch(path):
        lower = _PATH.fullmatch(path.lower()) is not None
        raise InvalidReference(f"invalid reference format{': repository name must be lowercase' if lower else ''}")
    if registry == "index.docker.io":
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in path:
        path = f"library/{path}"
    return Reference(registry, path, tag or ("" if digest else "latest"), digest)
