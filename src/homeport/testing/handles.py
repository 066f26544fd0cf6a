"""What a test holds: pods, nodes and events of a cluster, by name."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from homeport.api.quantity import parse_quantity
from homeport.api.resources import find
from homeport.errors import NotFound
from homeport.node.pod import ProbeKind
from homeport.testing.commands import Answer, ExecResult, Said, text_bytes

if TYPE_CHECKING:
    from homeport.testing.facade import Cluster

__all__ = ["Event", "Node", "Nodes", "Pod", "Pods"]

PODS: Final = find("Pod")
NODES: Final = find("Node")
_PROBES: Final = {"startup": "startupProbe", "readiness": "readinessProbe", "liveness": "livenessProbe"}


@dataclass(frozen=True, slots=True)
class Event:
    """An event as the API has it; `about` is kind, namespace and name of its object."""

    type: str
    reason: str
    message: str
    count: int
    about: tuple[str, str, str]
    version: int

    @classmethod
    def of(cls, tree: Any) -> "Event":
        about = tree["involvedObject"]
        return cls(
            tree.get("type", ""), tree.get("reason", ""), tree.get("message", ""), tree.get("count") or 1,
            (about.get("kind", ""), about.get("namespace", ""), about.get("name", "")),
            int(tree["metadata"]["resourceVersion"]),
        )  # fmt: skip


class Pod:
    """A pod by its name. It may be deleted and created anew; what is said about its programs stays."""

    def __init__(self, cluster: "Cluster", namespace: str, name: str) -> None:
        self._cluster, self.namespace, self.name = cluster, namespace, name

    def __repr__(self) -> str:
        return f"<pod {self.namespace}/{self.name}>"

    @property
    def exists(self) -> bool:
        return self._find() is not None

    @property
    def object(self) -> Any:
        """The object as it is now. Raises NotFound."""
        found = self._find()
        if found is None:
            raise NotFound(f'pods "{self.name}" not found')
        return found

    def _find(self) -> Any | None:
        return self._cluster.find_object(PODS, self.namespace, self.name)

    @property
    def uid(self) -> str:
        return str(self.object["metadata"]["uid"])

    @property
    def images(self) -> dict[str, str]:
        """The image of each container, by the container's name."""
        return {one["name"]: one["image"] for one in self.object["spec"]["containers"]}

    @property
    def image(self) -> str:
        """The image of the first container."""
        return next(iter(self.images.values()))

    @property
    def _status(self) -> Any:
        return self.object.get("status") or {}

    @property
    def phase(self) -> str:
        return str(self._status.get("phase", ""))

    @property
    def ready(self) -> bool:
        """Whether the pod exists and is ready."""
        conditions = ((self._find() or {}).get("status") or {}).get("conditions") or ()
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    @property
    def ip(self) -> str:
        """Its address; empty while it has none."""
        return str(self._status.get("podIP", ""))

    @property
    def ips(self) -> tuple[str, ...]:
        """Its addresses, one of each family of the cluster."""
        return tuple(one["ip"] for one in self._status.get("podIPs") or ())

    @property
    def node(self) -> str:
        """The node it is bound to; empty while it is not."""
        return str(self.object["spec"].get("nodeName", ""))

    @property
    def restarts(self) -> int:
        """How often its containers were restarted."""
        return sum(one.get("restartCount", 0) for one in self._status.get("containerStatuses") or ())

    def fail_probe(self, kind: str) -> None:
        """Let its `startup`, `readiness` or `liveness` probes fail until `recover_probe`.

        Raises ValueError when it has no such probe.
        """
        if kind not in _PROBES:
            raise ValueError(f"{kind!r} is no kind of probe; one of: {', '.join(_PROBES)}")
        if not any(_PROBES[kind] in one for one in self.object["spec"]["containers"]):
            raise ValueError(f"pod {self.name} has no {_PROBES[kind]}, so it cannot fail")
        self._cluster.hands.set_probe(self.namespace, self.name, ProbeKind(kind.capitalize()), fails=True)

    def recover_probe(self, kind: str) -> None:
        """Let its probes of a kind succeed again."""
        self._cluster.hands.set_probe(self.namespace, self.name, ProbeKind(kind.capitalize()), fails=False)

    def crash(self, code: int | None = None, *, container: str = "") -> None:
        """Let its containers, or one of them, end now. Raises ValueError when none runs.

        code  its exit code: 1 unless told; a real program is killed, and its code is 137
        """
        self._end(code, container, oom=False)

    def run_out_of_memory(self, *, container: str = "") -> None:
        """Let its containers, or one of them, be killed for want of memory."""
        self._end(None, container, oom=True)

    def _end(self, code: int | None, container: str, *, oom: bool) -> None:
        if not self._cluster.hands.end_containers(self.namespace, self.name, container, code, oom=oom):
            raise ValueError(f"no container of pod {self.name} runs")

    def slow_start(self, seconds: float) -> None:
        """Let its programs take so long to come up, from their next start on."""
        self._cluster.hands.slow_start(self.namespace, self.name, seconds)

    def use(self, *, cpu: str = "0", memory: str = "0", container: str = "") -> None:
        """Let its containers, or one of them, each use so much from now on: `use(cpu="500m", memory="64Mi")`.

        That is what `metrics.k8s.io`, and so HorizontalPodAutoscalers, are told; nothing is limited by it.
        """
        amounts = parse_quantity(cpu).milli, parse_quantity(memory).value
        self._cluster.hands.use(self.namespace, self.name, container, *amounts)

    def prints(self, *lines: str) -> None:
        """Let its programs print these lines when they start next."""
        self._cluster.hands.print_lines(self.namespace, self.name, lines)

    def on_exec(
        self, command: Sequence[str], output: Said = "", code: int = 0, *, errors: str = "", container: str = ""
    ) -> None:
        """Say what commands that begin with these words print and end with; the most words that fit win.

        output  text, bytes, or a function of the whole command and its standard input that returns one of them
        errors  what comes on standard error
        """
        if isinstance(command, str) or not command:
            raise ValueError("a command is a list of words, such as ['psql', '-c']")
        answer = Answer(tuple(command), output, code, errors, container)
        self._cluster.hands.answer_command(self.namespace, self.name, answer)

    def listen(self, port: int, server: tuple[str, int]) -> None:
        """Let a server of yours, by host and port, answer at a port of its: for `port-forward` and `proxy`."""
        self._cluster.hands.listen(self.namespace, self.name, port, server)

    def exec(self, command: Sequence[str], *, stdin: str | bytes = b"", container: str = "") -> ExecResult:
        """Run a command in its first container, or another one. Raises ValueError when that does not run."""
        if isinstance(command, str) or not command:
            raise ValueError("a command is a list of words, such as ['cat', '/data/file']")
        return self._cluster.hands.exec(
            self.namespace, self.name, container or next(iter(self.images)), tuple(command), text_bytes(stdin)
        )

    def logs(self, container: str = "") -> str:
        """Return what its containers (or one of them) have printed since their last start."""
        return self._cluster.hands.logs(self.namespace, self.name, container)

    def delete(self, *, grace: int | None = None) -> None:
        """Ask for its deletion."""
        self._cluster.delete(f"pod/{self.namespace}/{self.name}", grace=grace)


class Pods:
    """The pods of a cluster: `pods["db-0"]`, `pods["namespace/db-0"]`; iterating gives those that exist."""

    def __init__(self, cluster: "Cluster") -> None:
        self._cluster = cluster

    def __getitem__(self, name: str) -> Pod:
        namespace, _, plain = name.rpartition("/")
        return Pod(self._cluster, namespace or "default", plain)

    def __iter__(self) -> Iterator[Pod]:
        for tree in self._cluster.objects(PODS):
            yield Pod(self._cluster, tree["metadata"]["namespace"], tree["metadata"]["name"])

    def __contains__(self, name: str) -> bool:
        return self[name].exists

    def __len__(self) -> int:
        return len(self._cluster.objects(PODS))


class Node:
    """A node by its name."""

    def __init__(self, cluster: "Cluster", name: str) -> None:
        self._cluster, self.name = cluster, name

    def __repr__(self) -> str:
        return f"<node {self.name}>"

    @property
    def ready(self) -> bool:
        tree = self._cluster.find_object(NODES, None, self.name)
        conditions = ((tree or {}).get("status") or {}).get("conditions") or ()
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def lose(self) -> None:
        """Take its power: the agent and all containers end at once."""
        self._cluster.hands.lose_node(self.name)

    def kill_agent(self) -> None:
        """End its agent; pods go on running."""
        self._cluster.hands.kill_agent(self.name)

    def start(self) -> None:
        """Start its agent again, after `lose` or `kill_agent`."""
        self._cluster.hands.start_node(self.name)

    def cut(self) -> None:
        """Part it from the API server; pods go on running."""
        self._cluster.hands.cut_node(self.name)

    def join(self) -> None:
        """Connect it again."""
        self._cluster.hands.join_node(self.name)


class Nodes:
    """The nodes of a cluster, by name."""

    def __init__(self, cluster: "Cluster") -> None:
        self._cluster = cluster

    def __getitem__(self, name: str) -> Node:
        names = self._cluster.hands.nodes()
        if name not in names:
            raise KeyError(f"{name}; there are {', '.join(names)}")
        return Node(self._cluster, name)

    def __iter__(self) -> Iterator[Node]:
        for name in self._cluster.hands.nodes():
            yield Node(self._cluster, name)
