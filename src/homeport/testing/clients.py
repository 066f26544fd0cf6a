"""Clients made elsewhere, ready to use: each is given the cluster's kubeconfig and nothing else."""

import base64
import importlib
import ssl
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from homeport.testing.facade import Cluster

__all__ = ["ClientMissing", "Clients", "KubectlFailed", "kubectl"]

_PACKAGES: Final = {"kr8s": "kr8s", "kubernetes": "kubernetes", "lightkube": "lightkube", "httpx": "httpx"}


class ClientMissing(ImportError):
    """The client's package is not installed; the text names it."""


class KubectlFailed(AssertionError):
    """kubectl ended with an error; shows what it said."""


class Clients:
    """`clients.kubernetes`, `.lightkube`, `.kr8s`, `.httpx`: made when first asked for, then kept."""

    def __init__(self, cluster: "Cluster") -> None:
        self._cluster = cluster
        self._made: dict[str, Any] = {}

    @property
    def kubernetes(self) -> Any:
        """The official client: a `kubernetes.client.ApiClient`, for `kubernetes.client.CoreV1Api(…)` and the like."""
        return self._get("kubernetes")

    @property
    def lightkube(self) -> Any:
        """A `lightkube.Client`."""
        return self._get("lightkube")

    @property
    def kr8s(self) -> Any:
        """A `kr8s` API object for ordinary (not async) code."""
        return self._get("kr8s")

    @property
    def httpx(self) -> Any:
        """An `httpx.Client` with the server's address and the administrator's certificate."""
        return self._get("httpx")

    def _get(self, name: str) -> Any:
        if name not in self._made:
            try:
                module = importlib.import_module(_PACKAGES[name])
            except ImportError as error:
                package = _PACKAGES[name]
                raise ClientMissing(f"clients.{name} needs the package {package!r}: pip install {package}") from error
            self._made[name] = getattr(self, f"_make_{name}")(module)
        return self._made[name]

    def _make_kubernetes(self, module: Any) -> Any:
        config = importlib.import_module("kubernetes.config")
        return config.new_client_from_config(config_file=str(self._cluster.kubeconfig))

    def _make_lightkube(self, module: Any) -> Any:
        return module.Client(config=module.KubeConfig.from_file(str(self._cluster.kubeconfig)), trust_env=False)

    def _make_kr8s(self, module: Any) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Kubernetes version", UserWarning)  # newer than it was tried with
            return module.api(kubeconfig=str(self._cluster.kubeconfig))

    def _make_httpx(self, module: Any) -> Any:
        return module.Client(base_url=self.url, verify=self.tls, trust_env=False)

    @property
    def url(self) -> str:
        """The server's address, for clients of any other make."""
        return _tls(self._cluster.kubeconfig)[0]

    @property
    def tls(self) -> ssl.SSLContext:
        """What such a client shows and trusts: the administrator's certificate, the cluster's authority."""
        return _tls(self._cluster.kubeconfig)[1]

    def close(self) -> None:
        """Let go of every client made."""
        for client in self._made.values():
            close = getattr(client, "close", None)
            if callable(close):
                close()
        self._made.clear()


def _tls(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    document = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    with tempfile.NamedTemporaryFile(suffix=".pem") as pem:  # ssl reads certificates from files alone; mode 0600
        for part in ("client-certificate-data", "client-key-data"):
            pem.write(base64.b64decode(user[part]))
        pem.flush()
        context.load_cert_chain(pem.name)
    return cluster["server"], context


def kubectl(kubeconfig: Path, arguments: tuple[str, ...], stdin: str, timeout: float) -> str:
    """Run kubectl and return its standard output. Raises KubectlFailed, FileNotFoundError, TimeoutExpired."""
    words = ["kubectl", f"--kubeconfig={kubeconfig}", f"--cache-dir={kubeconfig.parent / 'kubectl-cache'}", *arguments]
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        raise KubectlFailed(f"kubectl {' '.join(arguments)} → {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
