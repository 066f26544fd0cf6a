"""`/metrics` in Prometheus text form (api-machinery 2). Counting costs a dictionary entry per request."""

from collections import Counter
from collections.abc import Mapping

from homeport.api.exchange import Request, Response
from homeport.server.hub import Hub
from homeport.server.routing import Target
from homeport.server.watch import Watches

__all__ = ["Metrics"]

_Key = tuple[str, str, str, str, str, str, int]
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts answers and knows where to look for the rest."""

    def __init__(self, hub: Hub, watches: Watches) -> None:
        self._hub, self._watches = hub, watches
        self._answers: Counter[_Key] = Counter()
        self.in_flight = 0

    def count(self, target: Target | None, method: str, status: int) -> None:
        """Take note of one answer."""
        if target is None:
            self._answers[method, "", "", "", "", "", status] += 1
            return
        resource = target.resource
        scope = "resource" if target.name else "namespace" if target.namespace else "cluster"
        self._answers[
            target.verb.upper(), resource.group, resource.version, resource.plural, target.subresource, scope, status
        ] += 1

    def answer(self, request: Request, query: Mapping[str, str]) -> Response | None:
        """Return the page, or None for any other path."""
        if request.path != "/metrics":
            return None
        return Response(200, [("content-type", _CONTENT_TYPE)], "".join(self._lines()).encode())

    def _lines(self) -> list[str]:
        lines = [
            "# HELP apiserver_request_total Answers by verb, resource and HTTP code.\n",
            "# TYPE apiserver_request_total counter\n",
        ]
        for (verb, group, version, resource, sub, scope, code), count in sorted(self._answers.items()):
            lines.append(
                f'apiserver_request_total{{code="{code}",component="apiserver",group="{group}",resource="{resource}",'
                f'scope="{scope}",subresource="{sub}",verb="{verb}",version="{version}"}} {count}\n'
            )
        lines += [
            "# HELP apiserver_current_inflight_requests Requests being answered.\n",
            "# TYPE apiserver_current_inflight_requests gauge\n",
            f"apiserver_current_inflight_requests {self.in_flight}\n",
            "# HELP apiserver_longrunning_requests Open watches.\n",
            "# TYPE apiserver_longrunning_requests gauge\n",
            f'apiserver_longrunning_requests{{verb="WATCH"}} {self._watches.open_count}\n',
            "# HELP apiserver_storage_objects Stored objects by resource.\n",
            "# TYPE apiserver_storage_objects gauge\n",
        ]
        for cache in self._hub.caches:
            name = cache.codec.resource.group_resource
            lines.append(f'apiserver_storage_objects{{resource="{name}"}} {len(cache.entries)}\n')
        return lines
