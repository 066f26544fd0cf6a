"""The data of claims, as a test reads and writes it: `claims["data-db-0"].write("x", b"…")`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from homeport.api.resources import find
from homeport.errors import NotFound
from homeport.testing.commands import text_bytes

if TYPE_CHECKING:
    from homeport.testing.facade import Cluster

__all__ = ["Claim", "Claims"]

CLAIMS: Final = find("PersistentVolumeClaim")
VOLUMES: Final = find("PersistentVolume")


class Claim:
    """A claim by its name, and what its volume holds."""

    def __init__(self, cluster: "Cluster", namespace: str, name: str) -> None:
        self._cluster, self.namespace, self.name = cluster, namespace, name

    def __repr__(self) -> str:
        return f"<claim {self.namespace}/{self.name}>"

    @property
    def exists(self) -> bool:
        return self._cluster.find_object(CLAIMS, self.namespace, self.name) is not None

    @property
    def object(self) -> Any:
        """The object as it is now. Raises NotFound."""
        found = self._cluster.find_object(CLAIMS, self.namespace, self.name)
        if found is None:
            raise NotFound(f'persistentvolumeclaims "{self.name}" not found')
        return found

    @property
    def phase(self) -> str:
        return str((self.object.get("status") or {}).get("phase", ""))

    @property
    def volume(self) -> str:
        """The name of its volume; empty while it has none."""
        return str(self.object["spec"].get("volumeName", ""))

    @property
    def directory(self) -> Path:
        """Where its data lies on this machine. Raises ValueError while it has no volume, or one of another kind."""
        tree = self._cluster.find_object(VOLUMES, None, self.volume) if self.volume else None
        if tree is None:
            raise ValueError(f"claim {self.name} has no volume yet; wait for it: wait('pvc/{self.name}')")
        spec = tree["spec"]
        place = spec.get("local") or spec.get("hostPath")
        if place is None:
            raise ValueError(f"volume {self.volume} of claim {self.name} is not a directory of this machine")
        return Path(place["path"])

    def _path(self, name: str) -> Path:
        root = self.directory
        path = (root / name.lstrip("/")).resolve()
        if not path.is_relative_to(root.resolve()):
            raise ValueError(f"{name!r} lies outside claim {self.name}")
        return path

    def read(self, name: str) -> bytes:
        """Return what a file holds; its name counts from the volume's root. Raises FileNotFoundError."""
        return self._path(name).read_bytes()

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file, and make the directories above it."""
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text_bytes(content))

    def remove(self, name: str) -> None:
        """Remove a file. Raises FileNotFoundError."""
        self._path(name).unlink()

    def files(self) -> Sequence[str]:
        """Return the names of all files, in order."""
        root = self.directory
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


class Claims:
    """The claims of a cluster: `claims["data-db-0"]`, `claims["namespace/data-db-0"]`; iterating gives all."""

    def __init__(self, cluster: "Cluster") -> None:
        self._cluster = cluster

    def __getitem__(self, name: str) -> Claim:
        namespace, _, plain = name.rpartition("/")
        return Claim(self._cluster, namespace or "default", plain)

    def __iter__(self) -> Iterator[Claim]:
        for tree in self._cluster.objects(CLAIMS):
            yield Claim(self._cluster, tree["metadata"]["namespace"], tree["metadata"]["name"])

    def __contains__(self, name: str) -> bool:
        return self[name].exists

    def __len__(self) -> int:
        return len(self._cluster.objects(CLAIMS))
