"""Health over HTTP: what an external balancer asks about a Service's endpoints here, and how the proxy itself is.

Source: `services-dns` 17.3; KEP-1669 for what `/healthz` and `/livez` mean.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from homeport.clock import Clock, rfc3339
from homeport.proxy.answers import Answer, converse
from homeport.proxy.model import Address, Key, ServiceRules

__all__ = ["METRICS_PORT", "PROXY_HEALTH_PORT", "HealthServer", "proxy_answer", "service_answer"]

PROXY_HEALTH_PORT: Final = 10256
METRICS_PORT: Final = 10249
_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_REQUEST_BYTES: Final = 8192

_log = logging.getLogger(__name__)


def service_answer(rules: ServiceRules, proxy_healthy: bool) -> Answer:
    """Answer a balancer: 200 while something is ready here and the proxy keeps up."""
    namespace, name = rules.key
    tree = {
        "service": {"namespace": namespace, "name": name},
        "localEndpoints": rules.ready_here,
        "serviceProxyHealthy": proxy_healthy,
    }
    return Answer(
        200 if rules.ready_here and proxy_healthy else 503,
        json.dumps(tree, indent="\t"),
        {"X-Load-Balancing-Endpoint-Weight": str(rules.ready_here)},
    )


def proxy_answer(path: str, healthy: bool, updated: float, now: float, *, eligible: bool = True) -> Answer:
    """Answer `/healthz` and `/livez` of the proxy itself; times are epoch seconds.

    eligible  balancers may lead to this node; where not, `/healthz` sends them away and `/livez` minds nothing.
    """
    if path not in ("/healthz", "/livez"):
        return Answer(404)
    tree: dict[str, object] = {"lastUpdated": rfc3339(updated), "currentTime": rfc3339(now)}
    if path == "/healthz":
        tree["nodeEligible"] = eligible
    well = healthy and (eligible or path == "/livez")
    return Answer(200 if well else 503, json.dumps(tree))


def metrics_answer(metrics: Callable[[], str], path: str) -> Answer:
    """Answer a scraper: `/metrics` and nothing else."""
    return Answer(200, metrics(), {"Content-Type": _METRICS_TYPE}) if path == "/metrics" else Answer(404)


class HealthServer:
    """One listener per health check port on each of the node's addresses, and one for the proxy.

    proxy_health  returns whether the proxy keeps up, and when it last did (epoch seconds)
    port          where the proxy answers for itself
    metrics       returns what the proxy counts, in Prometheus' text form; none are served without
    eligible      returns whether balancers may lead to this node
    answered      is told each answer about the proxy itself: path and status
    """

    def __init__(
        self,
        addresses: Iterable[Address],
        clock: Clock,
        proxy_health: Callable[[], tuple[bool, float]],
        *,
        port: int = PROXY_HEALTH_PORT,
        metrics: Callable[[], str] | None = None,
        metrics_port: int = METRICS_PORT,
        eligible: Callable[[], bool] = lambda: True,
        answered: Callable[[str, int], None] = lambda path, status: None,
    ) -> None:
        self._addresses = [str(address) for address in addresses]
        self._clock, self._proxy_health, self._port = clock, proxy_health, port
        self._metrics, self._metrics_port = metrics, metrics_port
        self._eligible, self._answered = eligible, answered
        self._checks: dict[int, ServiceRules] = {}
        self._servers: dict[int, asyncio.Server] = {}

    async def start(self) -> None:
        """Answer for the proxy itself. A port that is taken is told in the log: balancing goes on without."""
        await self._open(self._port, self._answer_for_proxy)
        if self._metrics is not None:
            await self._open(self._metrics_port, partial(metrics_answer, self._metrics))

    async def update(self, rules: Mapping[Key, ServiceRules]) -> None:
        """Answer for these Services and no others from now on."""
        self._checks = {one.health_check_port: one for one in rules.values() if one.health_check_port}
        for port in self._servers.keys() - self._checks.keys() - {self._port, self._metrics_port}:
            server = self._servers.pop(port)
            server.close()
            await server.wait_closed()
        for port in self._checks.keys() - self._servers.keys():
            await self._open(port, partial(self._answer_for_service, port))

    async def close(self) -> None:
        for server in self._servers.values():
            server.close()
            await server.wait_closed()
        self._servers.clear()

    def _answer_for_proxy(self, path: str) -> Answer:
        healthy, updated = self._proxy_health()
        answer = proxy_answer(path, healthy, updated, self._clock.now(), eligible=self._eligible())
        self._answered(path, answer.status)
        return answer

    def _answer_for_service(self, port: int, _: str) -> Answer:
        return service_answer(self._checks[port], self._proxy_health()[0])

    async def _open(self, port: int, answer: Callable[[str], Answer]) -> None:
        async def answered(path: str, _: Mapping[str, str]) -> Answer:
            return answer(path)

        try:
            self._servers[port] = await asyncio.start_server(
                partial(converse, answered), self._addresses, port, limit=_REQUEST_BYTES
            )
        except OSError as error:
            _log.warning("nothing is answered on port %d: %s", port, error)
