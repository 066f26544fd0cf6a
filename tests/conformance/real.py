"""The real side: pods of a running cluster, with one web server as their image."""

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from homeport.client.http import HttpTransport
from homeport.client.rest import RestClient
from homeport.client.settings import unix_settings
from tests.conformance.world import PORT, World
from tests.e2e.cluster import Cluster
from tests.node.images.building import archive, entry, layer

__all__ = ["RealWorld", "web_images"]

T = TypeVar("T")
LOOK_SECONDS = 0.05
IMAGES = ("example.org/web:1", "example.org/web:2")
APPLETS = ("sh", "cat", "dd", "echo", "hostname", "httpd", "ln", "ls", "mkdir", "mv", "nslookup", "rm", "sleep", "test",
           "touch", "wget")  # fmt: skip
SERVE = f"mkdir -p /www; hostname > /www/index.html; trap 'exit 0' TERM; httpd -f -p {PORT} -h /www & wait"


def web_images(path: Path) -> Path:
    """Write an archive of one image under both names of `IMAGES`: busybox, which serves its host name on `PORT`."""
    files = layer(
        entry("bin/"),
        entry("bin/busybox", Path("/usr/bin/busybox").read_bytes(), mode=0o755),
        *(entry(f"bin/{name}", link="busybox") for name in APPLETS),
        entry("etc/"),
        entry("tmp/"),
    )
    archive(path, [files], {"Cmd": ["/bin/sh", "-c", SERVE], "Env": ["PATH=/bin"]}, list(IMAGES))
    return path


class RealWorld(World):
    """A namespace of a running cluster."""

    runs_programs = True
    images = IMAGES

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace
        self._runner = asyncio.Runner()
        self.client = RestClient(HttpTransport(unix_settings(str(cluster.data / "run" / "api.sock"))), "conformance")

    def close(self) -> None:
        """Give back connections and loop."""
        self.run(self.client.transport.close())
        self._runner.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(coroutine)

    def now(self) -> float:
        return time.monotonic()

    def _clear(self) -> None:
        """Nothing to prepare: looking is all there is."""

    def _change(self, seconds: float) -> None:
        self.run(asyncio.sleep(min(seconds, LOOK_SECONDS)))

    def break_http_probe(self, pod: str) -> None:
        self.execute(pod, "mv", "/www/index.html", "/www/hidden")

    def mend_http_probe(self, pod: str) -> None:
        self.execute(pod, "mv", "/www/hidden", "/www/index.html")

    def fail_image(self, reference: str) -> None:
        """Nothing to do: no registry is asked for what was never loaded."""

    def execute(self, pod: str, *command: str, container: str = "") -> str:
        chosen = ("-c", container) if container else ()
        return self.cluster.kubectl("exec", "-n", self.namespace, pod, *chosen, "--", *command)

    def resolve(self, name: str, kind: str = "A") -> set[str]:
        relative = name.count(".") < 3
        return self.cluster.resolve(f"{name}.{self.namespace}.svc.cluster.local" if relative else name, kind)
