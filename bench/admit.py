"""What it costs to admit an object: decode, default, prepare, validate and encode a typical pod, beside JSON alone.

    python -m bench.admit [--seconds 0.3] [--rounds 5]

Microseconds per object, each step with all before it. `baseline` is msgspec reading (and writing) the same bytes.
Rounds interleave, so that a neighbour's noise falls on all of them; the figures are medians.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import msgspec

from bench.report import median, write
from homeport.api import decode, strategy
from homeport.api.defaults import apply_defaults
from homeport.api.resources import Gvk
from homeport.api.validation import validate_create, warnings_for

POD = Gvk("", "v1", "Pod")

TEMPLATE = {
    "containers": [
        {
            "name": "db",
            "image": "registry.example/database:1.4.2",
            "args": ["--data-dir=/data", "--peers=db-0.db,db-1.db,db-2.db"],
            "ports": [{"name": "client", "containerPort": 2379}, {"name": "peer", "containerPort": 2380}],
            "env": [
                {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
                {"name": "LEVEL", "value": "info"},
            ],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
            "readinessProbe": {"httpGet": {"path": "/ready", "port": "client"}, "periodSeconds": 5},
            "livenessProbe": {"tcpSocket": {"port": "client"}, "initialDelaySeconds": 10},
            "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "config", "mountPath": "/etc/db"}],
        },
        {
            "name": "sidecar",
            "image": "registry.example/metrics:2",
            "ports": [{"name": "metrics", "containerPort": 9100}],
        },
    ],
    "volumes": [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}},
        {"name": "config", "configMap": {"name": "db-config"}},
    ],
    "subdomain": "db",
    "hostname": "db-0",
    "terminationGracePeriodSeconds": 30,
}
LABELS = {"app": "db", "statefulset.kubernetes.io/pod-name": "db-0", "controller-revision-hash": "db-5d8f9c7b6"}


def pod() -> bytes:
    owner = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "name": "db",
        "uid": "d2f1a3a0-6a3f-4a53-8b0e-2b9b0a7c7d10",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {"name": "db-0", "namespace": "default", "labels": LABELS, "ownerReferences": [owner]}
    return msgspec.json.encode({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": TEMPLATE})


def mean_microseconds(function: Callable[[], object], seconds: float) -> float:
    """Return the mean time of a call over about so many seconds."""
    calls, begun = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begun) < seconds:
        for _ in range(100):
            function()
        calls += 100
    return elapsed / calls * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.3, help="per step and round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    body = pod()
    read, write_json = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode

    def decoded() -> dict[str, Any]:
        return decode.decode(POD, read(body)).tree

    def defaulted() -> dict[str, Any]:
        tree = decoded()
        apply_defaults(POD, tree)
        return tree

    def prepared() -> dict[str, Any]:
        tree = defaulted()
        strategy.prepare_for_create(POD, tree, now=0.0)
        return tree

    def validated() -> dict[str, Any]:
        tree = prepared()
        if violations := validate_create(POD, tree):
            raise ValueError(violations)
        return tree

    def admitted() -> bytes:
        tree = validated()
        warnings_for(POD, tree)
        return write_json(tree)

    steps: dict[str, Callable[[], object]] = {
        "baseline: JSON read": lambda: read(body),
        "baseline: JSON read and write": lambda: write_json(read(body)),
        "decode": decoded,
        "decode, default": defaulted,
        "decode, default, prepare": prepared,
        "decode, default, prepare, validate": validated,
        "all, warnings, JSON write": admitted,
    }
    rounds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.rounds):
        for name, function in steps.items():
            rounds[name].append(mean_microseconds(function, options.seconds))
    medians = {name: median(figures) for name, figures in rounds.items()}
    sizes = {"body_bytes": len(body), "stored_bytes": len(admitted())}
    write("admit", {**sizes, "rounds": options.rounds, "microseconds": medians})


if __name__ == "__main__":
    main()
