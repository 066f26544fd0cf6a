"""Pulling an image from its registry (node 12.3; OCI distribution specification 1.1).

Blocking code in worker threads: the caller gives the threads, which must be in a network that reaches the registries
(the host's, when the node itself lives in the cluster's). Every blob is checked against its digest while it arrives;
HTTP without TLS is for loopback addresses only.
"""

import asyncio
import hashlib
import http.client
import ipaddress
import json
import re
import socket
import ssl
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote, urlencode, urljoin, urlsplit

from homeport.node.images.platform import NoPlatform, choose, this_architecture
from homeport.node.images.reference import DEFAULT_REGISTRY, Reference
from homeport.node.images.store import BadImage, ImageStore, Layer
from homeport.node.runtime.contract import Image, ImageError

__all__ = ["RegistryFailure", "RegistryPuller", "api_host", "is_loopback"]

LOOKUP_SECONDS: Final = 3.0
"""How long a registry's name may take to resolve: without a network some resolvers try for half a minute."""
REMEMBER_UNREACHABLE_SECONDS: Final = 20.0
CONNECT_SECONDS: Final = 5.0
IDLE_SECONDS: Final = 60.0
MAX_MANIFEST_BYTES: Final = 4 << 20
MAX_REDIRECTS: Final = 5
MAX_RESUMPTIONS: Final = 5
_CHUNK: Final = 1 << 20

_INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_ACCEPT: Final = ", ".join(
    (
        *_INDEXES,
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


class RegistryFailure(Exception):
    """The registry did not give what was asked; the text is the cause as upstream words it."""


def api_host(registry: str) -> str:
    """Return the host that answers for a registry's name."""
    return "registry-1.docker.io" if registry == DEFAULT_REGISTRY else registry


def is_loopback(host: str) -> bool:
    """Tell whether `host[:port]` is this machine, where plain HTTP is fine."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class RegistryPuller:
    """Implements `local.Puller`. A registry that could not be reached is not tried again for a while.

    executor  whose threads reach the registries
    """

    def __init__(self, store: ImageStore, executor: Executor) -> None:
        self._store, self._executor = store, executor
        self._unreachable: dict[str, tuple[float, str]] = {}

    async def pull(self, reference: Reference) -> Image:
        """Fetch an image into the store. Raises ImageError('ErrImagePull', …)."""
        prefix = f'failed to pull and unpack image "{reference}": '
        loop = asyncio.get_running_loop()
        host = api_host(reference.registry)
        until, why = self._unreachable.get(host, (0.0, ""))
        try:
            if loop.time() < until:
                raise RegistryFailure(why)
            try:
                await self._look_up(host)
            except OSError as error:
                why = _unresolved(reference, host, error)
                self._unreachable[host] = (loop.time() + REMEMBER_UNREACHABLE_SECONDS, why)
                raise RegistryFailure(why) from error
            return await loop.run_in_executor(self._executor, _Pull(self._store, reference).run)
        except (RegistryFailure, BadImage, NoPlatform) as error:
            raise ImageError("ErrImagePull", prefix + str(error)) from error
        except (OSError, http.client.HTTPException) as error:
            raise ImageError("ErrImagePull", prefix + _unresolved(reference, host, error)) from error

    async def _look_up(self, host: str) -> None:
        parts = urlsplit(f"//{host}")
        port = parts.port or 443
        look_up = asyncio.get_running_loop().run_in_executor(
            self._executor, socket.getaddrinfo, parts.hostname, port, 0, socket.SOCK_STREAM
        )
        try:
            await asyncio.wait_for(look_up, LOOKUP_SECONDS)
        except TimeoutError as error:
            raise OSError("i/o timeout") from error


def _unresolved(reference: Reference, host: str, error: Exception) -> str:
    scheme = "http" if is_loopback(host) else "https"
    url = f"{scheme}://{host}/v2/{reference.repository}/manifests/{reference.pinned}"
    if isinstance(error, socket.gaierror):
        cause = f"dial tcp: lookup {urlsplit(f'//{host}').hostname}: no such host"
    elif isinstance(error, ConnectionRefusedError):
        cause = f"dial tcp {host}: connect: connection refused"
    else:
        cause = f"dial tcp: {error}"
    return f'failed to resolve reference "{reference}": failed to do request: Head "{url}": {cause}'


@dataclass(slots=True)
class _Pull:
    """One pull, in one thread."""

    store: ImageStore
    reference: Reference
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        host = api_host(self.reference.registry)
        return f"{'http' if is_loopback(host) else 'https'}://{host}/v2/{self.reference.repository}"

    def run(self) -> Image:
        manifest, digest = self.manifest(self.reference.pinned)
        top_digest = digest
        if "manifests" in manifest:
            entry = choose(manifest["manifests"], *this_architecture())
            manifest, digest = self.manifest(entry["digest"])
        if manifest.get("schemaVersion") != 2 or "config" not in manifest:
            raise RegistryFailure(f'unsupported manifest of "{self.reference}"')
        ingest = self.store.root / "ingest"
        ingest.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=ingest) as directory:
            config = self.blob(manifest["config"], Path(directory)).read_bytes()
            diff_ids = (json.loads(config).get("rootfs") or {}).get("diff_ids") or []
            if len(diff_ids) != len(manifest["layers"]):
                raise BadImage("the image's configuration and its manifest list different layers")
            layers = [
                Layer(diff_id, _opener(self.blob(layer, Path(directory))))
                for diff_id, layer in zip(diff_ids, manifest["layers"], strict=True)
            ]
            pinned = self.reference.with_digest(top_digest)
            record = self.store.add(config, layers, [self.reference, pinned], manifest_digest=str(pinned), loaded=False)
        return record.image(self.reference.familiar, str(pinned))

    def manifest(self, pinned: str) -> tuple[dict[str, Any], str]:
        """Return a manifest and its digest."""
        with self.get(f"{self.base}/manifests/{pinned}", {"Accept": _ACCEPT}) as response:
            if response.status == 404:
                raise RegistryFailure(f'failed to resolve reference "{self.reference}": {self.reference}: not found')
            self.require(response)
            data = response.read(MAX_MANIFEST_BYTES + 1)
        if len(data) > MAX_MANIFEST_BYTES:
            raise RegistryFailure(f"manifest of {self.reference} is larger than {MAX_MANIFEST_BYTES} bytes")
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if pinned.startswith("sha256:") and digest != pinned:
            raise RegistryFailure(f"manifest {pinned} does not match its digest: it hashes to {digest}")
        try:
            tree = json.loads(data)
        except ValueError as error:
            raise RegistryFailure(f"manifest of {self.reference} is not JSON: {error}") from error
        if not isinstance(tree, dict):
            raise RegistryFailure(f"manifest of {self.reference} is not a JSON object")
        return tree, digest

    def blob(self, descriptor: Mapping[str, Any], directory: Path) -> Path:
        """Download a blob into `directory`, going on where a broken connection stopped."""
        digest, size = str(descriptor["digest"]), int(descriptor["size"])
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
            raise RegistryFailure(f"digest {digest!r} is not sha256")
        path = directory / digest.partition(":")[2]
        hashing = hashlib.sha256()
        received = 0
        with open(path, "wb") as file:
            for _ in range(MAX_RESUMPTIONS):
                headers = {"Range": f"bytes={received}-"} if received else {}
                with self.get(f"{self.base}/blobs/{digest}", headers) as response:
                    self.require(response)
                    if received and response.status != 206:
                        raise RegistryFailure(f"blob {digest}: the connection broke after {received} bytes")
                    while chunk := _read_some(response):
                        received += len(chunk)
                        if received > size:
                            raise RegistryFailure(f"blob {digest} is larger than the {size} bytes announced")
                        hashing.update(chunk)
                        file.write(chunk)
                if received == size:
                    break
        if f"sha256:{hashing.hexdigest()}" != digest:
            raise RegistryFailure(f"blob {digest} does not match its digest")
        return path

    def require(self, response: "_Response") -> None:
        if response.status in (401, 403):
            raise RegistryFailure(
                f'failed to resolve reference "{self.reference}": pull access denied, repository does not exist or may '
                f"require authorization: server message: insufficient_scope: authorization failed"
            )
        if response.status not in (200, 206):
            raise RegistryFailure(
                f'failed to resolve reference "{self.reference}": unexpected status from GET request to '
                f"{response.url}: {response.status} {response.reason}"
            )

    def get(self, url: str, headers: Mapping[str, str]) -> "_Response":
        """GET with the token the registry asks for; redirects are followed, without the token to other hosts."""
        home = urlsplit(self.base).netloc
        for _ in range(MAX_REDIRECTS + 2):
            own = urlsplit(url).netloc == home
            authorization = {"Authorization": self.tokens[home]} if own and home in self.tokens else {}
            response = _Response(url, {**headers, **authorization})
            challenge = response.header("WWW-Authenticate")
            if response.status == 401 and own and challenge and home not in self.tokens:
                response.close()
                self.tokens[home] = self.authorize(challenge)
            elif response.status in (301, 302, 303, 307, 308):
                response.close()
                url = urljoin(url, response.header("Location"))
            else:
                return response
        raise RegistryFailure(f"too many redirects from {url}")

    def authorize(self, challenge: str) -> str:
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() != "bearer":
            raise RegistryFailure(f'failed to resolve reference "{self.reference}": no basic auth credentials')
        facts = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        realm = facts.get("realm", "")
        if not realm.startswith("https://") and not is_loopback(urlsplit(realm).netloc):
            raise RegistryFailure(f"token realm {realm!r} is not HTTPS")
        query = {"service": facts.get("service", ""), "scope": f"repository:{self.reference.repository}:pull"}
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(query, quote_via=quote)}"
        with _Response(url, {}) as response:
            if response.status != 200:
                raise RegistryFailure(f"failed to authorize: failed to fetch anonymous token: {response.status}")
            tree = json.loads(response.read(MAX_MANIFEST_BYTES))
        return f"Bearer {tree.get('token') or tree.get('access_token')}"


class _Response:
    """One request and its answer; HTTPS is verified against the system's authorities."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self.url = url
        parts = urlsplit(url)
        if parts.username is not None or parts.scheme not in ("https", "http"):
            raise RegistryFailure(f"address {url!r} is not allowed")
        if parts.scheme == "http":
            if not is_loopback(parts.netloc):
                raise RegistryFailure(f"{parts.netloc} offers no HTTPS")
            self._connection = http.client.HTTPConnection(parts.netloc, timeout=CONNECT_SECONDS)
        else:
            context = ssl.create_default_context()
            self._connection = http.client.HTTPSConnection(parts.netloc, timeout=CONNECT_SECONDS, context=context)
        try:
            self._connection.connect()
            self._connection.sock.settimeout(IDLE_SECONDS)
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            self._connection.request("GET", path, headers={"User-Agent": "homeport", **headers})
            self._answer = self._connection.getresponse()
        except BaseException:
            self._connection.close()
            raise
        self.status, self.reason = self._answer.status, self._answer.reason

    def header(self, name: str) -> str:
        return self._answer.getheader(name) or ""

    def read(self, size: int) -> bytes:
        return self._answer.read(size)

    def close(self) -> None:
        self._answer.close()
        self._connection.close()

    def __enter__(self) -> "_Response":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read_some(response: _Response) -> bytes:
    """Return the next piece; empty at the end, or where the connection broke (the size tells)."""
    try:
        return response.read(_CHUNK)
    except (http.client.IncompleteRead, ConnectionError, TimeoutError):
        return b""


def _opener(path: Path) -> Callable[[], IO[bytes]]:
    return lambda: open(path, "rb")
