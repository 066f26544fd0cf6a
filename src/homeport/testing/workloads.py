"""The workloads a random history plays with: small values that become manifests, and lines of text that people read."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final

__all__ = ["DEPLOYMENT", "SET", "Workload", "parse_workload", "random_world"]

SET: Final = "StatefulSet"
DEPLOYMENT: Final = "Deployment"
CONTAINER: Final = "main"


@dataclass(frozen=True, slots=True)
class Workload:
    """A StatefulSet or Deployment with its Service, and a disruption budget if it has one.

    app        value of the label its selector and its Service look for; the name when empty. Sets may share one.
    parallel   podManagementPolicy Parallel
    claims     whether each pod has a claim, with the two retention policies `when_scaled` and `when_deleted`
    on_delete  update strategy OnDelete
    start      the first ordinal
    recreate   strategy Recreate; else RollingUpdate with `surge` and `unavailable`
    budget     `minAvailable=2`, `maxUnavailable=1`, or empty
    """

    kind: str
    name: str
    replicas: int = 1
    namespace: str = "default"
    app: str = ""
    parallel: bool = False
    claims: bool = False
    when_scaled: str = "Retain"
    when_deleted: str = "Retain"
    ready_seconds: int = 0
    on_delete: bool = False
    partition: int = 0
    start: int = 0
    recreate: bool = False
    surge: str = "25%"
    unavailable: str = "25%"
    budget: str = ""

    def __str__(self) -> str:
        wanted = [
            f"{field.name}={getattr(self, field.name)}"
            for field in fields(self)
            if field.default is not MISSING and getattr(self, field.name) != field.default
        ]
        return " ".join([self.kind, self.name, *wanted])

    @property
    def label(self) -> str:
        return self.app or self.name

    @property
    def first_image(self) -> str:
        return f"{self.name}:1"

    def manifests(self) -> Iterator[Mapping[str, Any]]:
        """Yield the objects to create, in order."""
        yield self._object("v1", "Service", self._service())
        yield self._object("apps/v1", self.kind, self._set() if self.kind == SET else self._deployment())
        if self.budget:
            field, _, number = self.budget.partition("=")
            wanted = {field: int(number), "selector": {"matchLabels": {"app": self.label}}}
            yield self._object("policy/v1", "PodDisruptionBudget", wanted)

    def _object(self, version: str, kind: str, spec: Any) -> Mapping[str, Any]:
        metadata = {"name": self.name, "namespace": self.namespace}
        return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}

    def _service(self) -> dict[str, Any]:
        spec: dict[str, Any] = {"selector": {"app": self.label}, "ports": [{"port": 80}]}
        return {"clusterIP": "None", **spec} if self.kind == SET else spec

    def _template(self) -> dict[str, Any]:
        probe: dict[str, Any] = {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 10}
        container: dict[str, Any] = {
            "name": CONTAINER, "image": self.first_image, "readinessProbe": probe, "livenessProbe": probe,
        }  # fmt: skip
        if self.claims:
            container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
        spec = {"containers": [container], "terminationGracePeriodSeconds": 5}
        return {"metadata": {"labels": {"app": self.label}}, "spec": spec}

    def _common(self) -> dict[str, Any]:
        return {
            "replicas": self.replicas, "minReadySeconds": self.ready_seconds,
            "selector": {"matchLabels": {"app": self.label}}, "template": self._template(),
        }  # fmt: skip

    def _set(self) -> dict[str, Any]:
        rolling: dict[str, Any] = {"type": "RollingUpdate", "rollingUpdate": {"partition": self.partition}}
        spec = self._common() | {
            "serviceName": self.name,
            "podManagementPolicy": "Parallel" if self.parallel else "OrderedReady",
            "updateStrategy": {"type": "OnDelete"} if self.on_delete else rolling,
            "ordinals": {"start": self.start},
        }
        if self.claims:
            claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
            spec["volumeClaimTemplates"] = [{"metadata": {"name": "data"}, "spec": claim}]
            policy = {"whenScaled": self.when_scaled, "whenDeleted": self.when_deleted}
            spec["persistentVolumeClaimRetentionPolicy"] = policy
        return spec

    def _deployment(self) -> dict[str, Any]:
        if self.recreate:
            return self._common() | {"strategy": {"type": "Recreate"}}
        limits = {"maxSurge": _int_or_percent(self.surge), "maxUnavailable": _int_or_percent(self.unavailable)}
        return self._common() | {"strategy": {"type": "RollingUpdate", "rollingUpdate": limits}}


def _int_or_percent(text: str) -> int | str:
    return text if text.endswith("%") else int(text)


def parse_workload(text: str) -> Workload:
    """Return the workload of a line that `str` made, or a person. Raises ValueError."""
    kind, name, *settings = text.split()
    if kind not in (SET, DEPLOYMENT):
        raise ValueError(f"{kind!r} is neither {SET} nor {DEPLOYMENT}")
    known = {field.name: field for field in fields(Workload)}
    values: dict[str, Any] = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in known:
            raise ValueError(f"a workload has no {key!r}")
        default: Any = known[key].default
        values[key] = (
            value == "True" if isinstance(default, bool) else int(value) if isinstance(default, int) else value
        )
    return Workload(kind, name, **values)


def random_world(rng: random.Random) -> tuple[Workload, ...]:
    """Return one to three workloads that differ in whatever matters to their controllers."""
    namespace = "other" if rng.random() < 0.15 else "default"
    match rng.choices(("set", "twins", "both", "deployment"), weights=(50, 15, 20, 15))[0]:
        case "set":
            return (_random_set(rng, "db", namespace, ""),)
        case "twins":
            return (_random_set(rng, "db", namespace, "shared"), _random_set(rng, "log", namespace, "shared"))
        case "both":
            return (_random_set(rng, "db", namespace, ""), _random_deployment(rng, namespace))
    return (_random_deployment(rng, namespace),)


def _random_set(rng: random.Random, name: str, namespace: str, app: str) -> Workload:
    return Workload(
        SET, name, rng.randint(1, 4), namespace, app,
        parallel=rng.random() < 0.35,
        claims=rng.random() < 0.6,
        when_scaled=rng.choice(("Retain", "Delete")),
        when_deleted=rng.choice(("Retain", "Delete")),
        ready_seconds=rng.choice((0, 0, 5)),
        on_delete=rng.random() < 0.15,
        partition=rng.choice((0, 0, 0, 1, 2)),
        start=rng.choice((0, 0, 0, 2)),
        budget=_random_budget(rng) if not app else "",
    )  # fmt: skip


def _random_deployment(rng: random.Random, namespace: str) -> Workload:
    return Workload(
        DEPLOYMENT, "web", rng.randint(1, 4), namespace,
        ready_seconds=rng.choice((0, 0, 5)),
        recreate=rng.random() < 0.3,
        surge=rng.choice(("25%", "1", "2", "0")),
        unavailable=rng.choice(("25%", "1", "2")),
        budget=_random_budget(rng),
    )  # fmt: skip


def _random_budget(rng: random.Random) -> str:
    return rng.choice(("", "", "minAvailable=1", "minAvailable=2", "maxUnavailable=1"))
