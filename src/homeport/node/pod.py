"""A pod as the node agent sees it: the parts of its spec that decide what happens, typed; the tree kept beside them.

Codec of the agent's edge. Fields the API server defaults are defaulted here too, so that a pod from anywhere reads
the same. Source: Kubernetes API reference, Pod v1; `node` sections 2, 3, 6 and 19 for defaults.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, Final, TypeAlias

from homeport.clock import parse_time
from homeport.ids import fnv32a

__all__ = [
    "RESTART_ALL",
    "ContainerDef",
    "ExecAction",
    "ExitRule",
    "GrpcAction",
    "Handler",
    "HttpAction",
    "Kind",
    "Pod",
    "Probe",
    "ProbeKind",
    "RestartPolicy",
    "SleepAction",
    "TcpAction",
    "parse_pod",
]

Tree: TypeAlias = Mapping[str, Any]

RESTART_ALL: Final = "RestartAllContainers"
"""The action of a rule that restarts the whole pod in place."""


class RestartPolicy(Enum):
    """Whether an ended container starts again."""

    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


class Kind(Enum):
    """The part a container plays; the value is its list in the spec."""

    INIT = "initContainers"
    SIDECAR = "initContainers/sidecar"
    REGULAR = "containers"
    EPHEMERAL = "ephemeralContainers"

    @property
    def list_name(self) -> str:
        """The list of the spec it stands in, as `involvedObject.fieldPath` names it."""
        return self.value.partition("/")[0]


class ProbeKind(Enum):
    """The value begins the event text: `Readiness probe failed: …`."""

    STARTUP = "Startup"
    LIVENESS = "Liveness"
    READINESS = "Readiness"


@dataclass(frozen=True, slots=True)
class ExecAction:
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HttpAction:
    """`host` empty means the pod's address; `port` may name a container port."""

    port: int | str
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TcpAction:
    port: int | str
    host: str = ""


@dataclass(frozen=True, slots=True)
class GrpcAction:
    port: int
    service: str = ""


@dataclass(frozen=True, slots=True)
class SleepAction:
    seconds: int


Handler: TypeAlias = ExecAction | HttpAction | TcpAction | GrpcAction | SleepAction


@dataclass(frozen=True, slots=True)
class Probe:
    """Times in seconds; thresholds count equal results in a row."""

    handler: Handler
    initial_delay: int = 0
    period: int = 10
    timeout: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3
    grace: int | None = None


@dataclass(frozen=True, slots=True)
class ExitRule:
    """One of `restartPolicyRules`: what follows when the exit code is, or is not, among `codes`."""

    action: str
    codes: frozenset[int]
    negated: bool

    def matches(self, code: int) -> bool:
        return (code in self.codes) != self.negated


@dataclass(frozen=True)
class ContainerDef:
    """One container of the spec; `tree` is what the API sent."""

    name: str
    kind: Kind
    image: str
    pull_policy: str
    tree: Tree
    restart_policy: RestartPolicy | None = None
    restart_rules: tuple[ExitRule, ...] = ()
    probes: Mapping[ProbeKind, Probe] | None = None
    post_start: Handler | None = None
    pre_stop: Handler | None = None

    @cached_property
    def hash(self) -> str:
        """Over name and image only: nothing else in a live spec may force a restart (`node` 15.4)."""
        return f"{fnv32a(f'{self.name}{chr(0)}{self.image}'.encode()):08x}"

    @cached_property
    def backoff_key(self) -> str:
        """What resets the restart delay when it changes: image and resources (`node` 2.2)."""
        return f"{self.name}\0{self.image}\0{self.tree.get('resources')!r}"

    def probe(self, kind: ProbeKind) -> Probe | None:
        return (self.probes or {}).get(kind)

    def port(self, port: int | str) -> int | None:
        """Return the number behind a port that may be a name of this container's; None when there is none."""
        if isinstance(port, int):
            return port
        for entry in self.tree.get("ports") or ():
            if entry.get("name") == port:
                return int(entry["containerPort"])
        return int(port) if port.isdigit() else None


@dataclass(frozen=True)
class Pod:
    """`deletion_grace` and `grace` in seconds; `deleted_at` is the deletionTimestamp in epoch seconds."""

    uid: str
    namespace: str
    name: str
    tree: Tree
    init: tuple[ContainerDef, ...]
    containers: tuple[ContainerDef, ...]
    ephemeral: tuple[ContainerDef, ...]
    restart_policy: RestartPolicy
    grace: int
    deletion_grace: int | None
    deleted_at: float | None
    deadline: int | None
    host_network: bool

    def __str__(self) -> str:
        """`name_namespace(uid)`: how messages name a pod."""
        return f"{self.name}_{self.namespace}({self.uid})"

    @property
    def metadata(self) -> Tree:
        found: Tree = self.tree["metadata"]
        return found

    @property
    def spec(self) -> Tree:
        found: Tree = self.tree["spec"]
        return found

    @property
    def status(self) -> Tree:
        found: Tree = self.tree.get("status") or {}
        return found

    @property
    def generation(self) -> int:
        return int(self.metadata.get("generation") or 0)

    @property
    def deleting(self) -> bool:
        return self.deleted_at is not None

    @cached_property
    def may_restart_all(self) -> bool:
        """Whether some exit code of a container restarts the whole pod in place."""
        return any(rule.action == RESTART_ALL for container in self.all() for rule in container.restart_rules)

    @property
    def service_account(self) -> str:
        return self.spec.get("serviceAccountName") or "default"

    def all(self) -> Iterator[ContainerDef]:
        yield from self.init
        yield from self.containers
        yield from self.ephemeral

    def find(self, name: str) -> ContainerDef | None:
        return next((container for container in self.all() if container.name == name), None)


def parse_handler(tree: Tree) -> Handler | None:
    """Return the action of a probe or hook; None when there is none this engine knows."""
    if (run := tree.get("exec")) is not None:
        return ExecAction(tuple(run.get("command") or ()))
    if (get := tree.get("httpGet")) is not None:
        headers = tuple((header["name"], header.get("value", "")) for header in get.get("httpHeaders") or ())
        return HttpAction(
            get["port"], get.get("path") or "/", get.get("host") or "", get.get("scheme") or "HTTP", headers
        )
    if (tcp := tree.get("tcpSocket")) is not None:
        return TcpAction(tcp["port"], tcp.get("host") or "")
    if (grpc := tree.get("grpc")) is not None:
        return GrpcAction(grpc["port"], grpc.get("service") or "")
    if (sleep := tree.get("sleep")) is not None:
        return SleepAction(int(sleep.get("seconds") or 0))
    return None


def _probe(tree: Tree | None) -> Probe | None:
    handler = parse_handler(tree) if tree else None
    if tree is None or handler is None:
        return None
    return Probe(
        handler,
        int(tree.get("initialDelaySeconds") or 0),
        int(tree.get("periodSeconds") or 10),
        int(tree.get("timeoutSeconds") or 1),
        int(tree.get("successThreshold") or 1),
        int(tree.get("failureThreshold") or 3),
        tree.get("terminationGracePeriodSeconds"),
    )


_PROBE_FIELDS = {
    ProbeKind.STARTUP: "startupProbe",
    ProbeKind.LIVENESS: "livenessProbe",
    ProbeKind.READINESS: "readinessProbe",
}


def default_pull_policy(image: str) -> str:
    """Return `Always` for a floating tag, `IfNotPresent` otherwise (`node` 12.2)."""
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "Always" if not digest and tag in ("", "latest") else "IfNotPresent"


def _container(tree: Tree, kind: Kind) -> ContainerDef:
    own = tree.get("restartPolicy")
    if kind is Kind.INIT and own == "Always":
        kind = Kind.SIDECAR
    lifecycle = tree.get("lifecycle") or {}
    probes = {probe_kind: _probe(tree.get(field)) for probe_kind, field in _PROBE_FIELDS.items()}
    rules = tuple(
        ExitRule(
            rule["action"],
            frozenset((rule.get("exitCodes") or {}).get("values") or ()),
            (rule.get("exitCodes") or {}).get("operator") == "NotIn",
        )
        for rule in tree.get("restartPolicyRules") or ()
    )
    image = tree.get("image") or ""
    return ContainerDef(
        name=tree["name"],
        kind=kind,
        image=image,
        pull_policy=tree.get("imagePullPolicy") or default_pull_policy(image),
        tree=tree,
        restart_policy=RestartPolicy(own) if own else None,
        restart_rules=rules,
        probes={probe_kind: probe for probe_kind, probe in probes.items() if probe is not None},
        post_start=parse_handler(lifecycle.get("postStart") or {}),
        pre_stop=parse_handler(lifecycle.get("preStop") or {}),
    )


def _containers(trees: Sequence[Tree] | None, kind: Kind) -> tuple[ContainerDef, ...]:
    return tuple(_container(tree, kind) for tree in trees or ())


def renewed(pod: Pod, tree: Tree) -> Pod:
    """Return the newer form of a known pod: most changes are to its status, and leave all there is to parse alone."""
    if tree["spec"] != pod.spec:
        return parse_pod(tree)
    metadata = tree["metadata"]
    deleted = metadata.get("deletionTimestamp")
    return Pod(
        pod.uid,
        pod.namespace,
        pod.name,
        tree,
        pod.init,
        pod.containers,
        pod.ephemeral,
        pod.restart_policy,
        pod.grace,
        metadata.get("deletionGracePeriodSeconds"),
        parse_time(deleted) if deleted else None,
        pod.deadline,
        pod.host_network,
    )


def parse_pod(tree: Tree) -> Pod:
    """Return the typed pod; raises KeyError when the tree is none."""
    metadata, spec = tree["metadata"], tree["spec"]
    deleted = metadata.get("deletionTimestamp")
    grace = spec.get("terminationGracePeriodSeconds")
    return Pod(
        uid=metadata["uid"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        tree=tree,
        init=_containers(spec.get("initContainers"), Kind.INIT),
        containers=_containers(spec.get("containers"), Kind.REGULAR),
        ephemeral=_containers(spec.get("ephemeralContainers"), Kind.EPHEMERAL),
        restart_policy=RestartPolicy(spec.get("restartPolicy") or "Always"),
        grace=30 if grace is None else 1 if grace < 0 else grace,
        deletion_grace=metadata.get("deletionGracePeriodSeconds"),
        deleted_at=parse_time(deleted) if deleted else None,
        deadline=spec.get("activeDeadlineSeconds"),
        host_network=bool(spec.get("hostNetwork")),
    )
