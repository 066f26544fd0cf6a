"""What the StatefulSet controller may create and delete, judged request by request (workloads 4; KEP-961, KEP-3335).

order          OrderedReady: a pod is created once all before it are ready, removed once all after it are gone and all
               that stay are ready; a set on its way out, or gone, touches no pod
availability   a rolling update takes a ready pod only while all pods it has to wait for are ready
partition      ready pods below the partition, under OnDelete, or as the set wants them, are left alone
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from homeport.api.exchange import Request
from homeport.api.resources import find
from homeport.testing.objects import first_ordinal, image_of, is_ready, ordinal_of, wants_ordinal

if TYPE_CHECKING:
    from homeport.testing.invariants import Invariants

__all__ = ["Ordering"]

SETS: Final = find("StatefulSet", "apps")
PODS: Final = find("Pod")

_CONTROLLER: Final = "statefulset-controller"
_POD_PATH: Final = re.compile(r"^/api/v1/namespaces/([^/]+)/pods(?:/([^/]+))?$")
_decode: Final = msgspec.json.Decoder().decode

Finding = tuple[str, str]


class Ordering:
    """Judges every request of the controller by all the sets, and pods, it may have taken to be there."""

    def __init__(self, invariants: "Invariants") -> None:
        self._invariants = invariants

    def requested(self, request: Request) -> None:
        """A request reaches the server."""
        if request.method not in ("POST", "DELETE"):
            return
        if not request.headers.get("user-agent", "").startswith(_CONTROLLER):
            return
        found = _POD_PATH.match(request.path)
        if found is None:
            return
        body = _decode(request.body) if request.body else {}
        namespace, name = found.group(1), found.group(2) or body["metadata"]["name"]
        if request.method == "DELETE" and not self._means_present(namespace, name, body):
            return
        owner = name.rpartition("-")[0]
        judged = [
            list(self._judge(request.method, one, name)) for one in self._invariants.versions(SETS, namespace, owner)
        ]
        if not judged:
            self._invariants.broken("order", f"pod {name} is touched ({request.method}), and there is no set {owner}")
        elif all(judged):  # it may have acted upon any of them
            self._invariants.broken(*judged[0][0])
        if request.method == "DELETE":
            self._invariants.taken((namespace, name))

    def _means_present(self, namespace: str, name: str, body: Any) -> bool:
        """Whether a deletion is of the pod that is there: of another one it does nothing."""
        pod = self._invariants.simulation.find(PODS, namespace, name)
        wanted = (body.get("preconditions") or {}).get("uid")
        return pod is not None and wanted in (None, pod["metadata"]["uid"])

    def _judge(self, method: str, tree: Any, name: str) -> Iterator[Finding]:
        """Yield what is wrong with creating or deleting a pod for a set that asks for this."""
        ordinal, first = int(name.rpartition("-")[2]), first_ordinal(tree)
        ordered = tree["spec"].get("podManagementPolicy", "OrderedReady") == "OrderedReady"
        if tree["metadata"].get("deletionTimestamp"):
            yield "order", f"pod {name} is touched ({method}) for a set on its way out"
        elif method == "POST" and not wants_ordinal(tree, ordinal):
            yield "order", f"pod {name} is created, which the set does not want"
        elif method == "POST" and ordered:
            for lower in range(first, ordinal):
                if not self._was_ready(tree, lower):
                    yield "order", f"pod {ordinal} is created while pod {lower} is not ready"
        elif method == "DELETE" and wants_ordinal(tree, ordinal):
            yield from self._judge_replacement(tree, name, ordinal, first if ordered else ordinal)
        elif method == "DELETE" and ordered:
            yield from self._judge_removal(tree, ordinal)

    def _judge_removal(self, tree: Any, ordinal: int) -> Iterator[Finding]:
        first = first_ordinal(tree)
        for kept in range(first, first + tree["spec"].get("replicas", 1)):
            if not self._was_ready(tree, kept):
                yield "order", f"pod {ordinal} is removed while pod {kept} is not ready"
        for pod in self._invariants.simulation.objects(PODS, tree["metadata"]["namespace"]):
            other = ordinal_of(tree["metadata"]["name"], pod["metadata"]["name"])
            if other is None or other <= ordinal or wants_ordinal(tree, other):
                continue
            if self._invariants.is_known(pod):
                yield "order", f"pod {ordinal} is removed while pod {other} exists"

    def _judge_replacement(self, tree: Any, name: str, ordinal: int, first: int) -> Iterator[Finding]:
        strategy = tree["spec"].get("updateStrategy") or {}
        pod = self._invariants.simulation.find(PODS, tree["metadata"]["namespace"], name)
        if pod is None or not is_ready(pod):
            return  # taking it makes nothing worse
        start = first_ordinal(tree)
        partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
        if strategy.get("type") == "OnDelete" or ordinal < start + partition:
            yield "partition", f"ready pod {ordinal} is taken, which is not to be updated"
        if image_of(pod) == image_of(tree):
            yield "partition", f"ready pod {ordinal} is taken, which is as it should be"
        for other in range(first, start + tree["spec"].get("replicas", 1)):
            if other != ordinal and not self._was_ready(tree, other):
                yield "availability", f"ready pod {ordinal} is taken while pod {other} is not ready"

    def _was_ready(self, tree: Any, ordinal: int) -> bool:
        return self._invariants.was_ready((tree["metadata"]["namespace"], f"{tree['metadata']['name']}-{ordinal}"))
