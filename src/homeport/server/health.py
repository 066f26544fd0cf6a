"""`/healthz`, `/livez`, `/readyz`, `/version` and the index of paths (api-machinery 2)."""

import platform
import sys
from collections.abc import Callable, Mapping
from typing import Final

from homeport.api.exchange import Request, Response
from homeport.api.resources import Gvk
from homeport.server import answers, failures
from homeport.server.negotiation import plain
from homeport.server.objects import Tree
from homeport.server.served import SERVED

__all__ = ["Health"]

_ENDPOINTS: Final = ("healthz", "livez", "readyz")
_CHECKS: Final = ("ping", "log", "etcd")
_NOSNIFF: Final = ("x-content-type-options", "nosniff")
NOT_FOUND: Final = "404 page not found\n"


def page_not_found() -> Response:
    """The plain answer for paths nobody serves (1.6)."""
    response = answers.text(NOT_FOUND, 404)
    response.headers.append(_NOSNIFF)
    return response


class Health:
    """Answers the paths that need no resource. `ready` tells whether the server has started."""

    def __init__(self, git_version: str, ready: Callable[[], bool]) -> None:
        self._ready = ready
        major, minor = git_version.removeprefix("v").split(".")[:2]
        self._version: Tree = {
            "major": major,
            "minor": minor,
            "emulationMajor": major,
            "emulationMinor": minor,
            "minCompatibilityMajor": major,
            "minCompatibilityMinor": str(int(minor) - 1),
            "gitVersion": git_version,
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": f"python{sys.version_info.major}.{sys.version_info.minor}",
            "compiler": "cpython",
            "platform": f"{sys.platform}/{_architecture()}",
        }

    def answer(self, request: Request, query: Mapping[str, str]) -> Response | None:
        """Return the response for one of these paths, or None for any other."""
        match request.path[1:].split("/"):
            case ["version"] | ["version", ""]:
                if request.method not in ("GET", "HEAD"):
                    raise failures.method_not_allowed()
                return answers.tree(self._version, Gvk("", "v1", ""), plain(request.headers, query), 0.0)
            case [endpoint] if endpoint in _ENDPOINTS:
                return self._endpoint(endpoint, request, query)
            case [endpoint, check] if endpoint in _ENDPOINTS and check in _CHECKS:
                return answers.text("ok") if self._ready() else answers.text("internal server error", 500)
            case [""]:
                document = {"paths": _paths()}
                return answers.tree(document, Gvk("", "v1", ""), plain(request.headers, query), 0.0)
            case _:
                return None

    def _endpoint(self, endpoint: str, request: Request, query: Mapping[str, str]) -> Response:
        excluded = [value for name, value in request.query if name == "exclude"]
        healthy = endpoint == "livez" or self._ready()
        if healthy and "verbose" not in query:
            response = answers.text("ok")
            response.headers.append(_NOSNIFF)
            return response
        lines = []
        for check in _CHECKS:
            if check in excluded:
                lines.append(f"[+]{check} excluded: ok")
            elif check == "etcd" and not healthy:
                lines.append(f"[-]{check} failed: reason withheld")
            else:
                lines.append(f"[+]{check} ok")
        unknown = [check for check in excluded if check not in _CHECKS]
        if unknown:
            listed = ",".join(f'"{check}"' for check in unknown)
            lines.append(f"warn: some health checks cannot be excluded: no matches for {listed}")
        lines.append(f"{endpoint} check {'passed' if healthy else 'failed'}")
        response = answers.text("\n".join(lines) + "\n", 200 if healthy else 500)
        response.headers.append(_NOSNIFF)
        return response


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _paths() -> list[str]:
    groups = {resource.group for resource in SERVED if resource.group}
    versions = {resource.prefix for resource in SERVED}
    fixed = {"/.well-known/openid-configuration", "/api", "/apis", "/metrics", "/openapi/v2", "/openapi/v3"}
    health = {f"/{endpoint}" for endpoint in _ENDPOINTS}
    checks = {f"/{endpoint}/{check}" for endpoint in _ENDPOINTS for check in _CHECKS}
    others = {"/openid/v1/jwks", "/version"}
    return sorted(fixed | health | checks | others | versions | {f"/apis/{group}" for group in groups})
