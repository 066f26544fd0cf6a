"""`pod-template-hash` is upstream's to the bit."""

import pytest

from homeport.controllers.deployment.revisions import replica_set_name
from homeport.controllers.template_hash import template_hash

CONTAINER = {
    "name": "main",
    "image": "a",
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "imagePullPolicy": "Always",
}
SPEC = {
    "containers": [CONTAINER],
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "securityContext": {},
    "schedulerName": "default-scheduler",
}
RICH = {
    "metadata": {"labels": {"b": "2", "a": "1"}, "annotations": {"z": "é"}},
    "spec": {
        **SPEC,
        "volumes": [
            {"name": "v", "emptyDir": {}},
            {"name": "s", "secret": {"secretName": "x", "defaultMode": 420}},
            {"name": "cm", "configMap": {"name": "c", "defaultMode": 420, "items": [{"key": "k", "path": "p"}]}},
            {"name": "e", "emptyDir": {"sizeLimit": "1Gi", "medium": "Memory"}},
        ],
        "containers": [
            {
                **CONTAINER,
                "command": ["sh", "-c", "x y"],
                "env": [
                    {"name": "A", "value": "1"},
                    {"name": "P", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
                ],
                "ports": [{"containerPort": 80, "protocol": "TCP", "name": "http"}],
                "resources": {
                    "limits": {"cpu": "500m", "memory": "1Gi"},
                    "requests": {"cpu": "500m", "memory": "128974848"},
                },
                "readinessProbe": {
                    "httpGet": {"path": "/", "port": "http", "scheme": "HTTP"},
                    "timeoutSeconds": 1,
                    "periodSeconds": 10,
                },
                "livenessProbe": {"tcpSocket": {"port": 80}},
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                "securityContext": {
                    "runAsUser": 5,
                    "capabilities": {"drop": ["ALL"]},
                    "readOnlyRootFilesystem": True,
                },
            }
        ],
        "securityContext": {"fsGroup": 1, "supplementalGroups": [1, 2]},
        "nodeSelector": {"x": "y"},
        "tolerations": [{"key": "k", "operator": "Exists", "tolerationSeconds": 5}],
        "affinity": {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"labelSelector": {"matchLabels": {"a": "1"}}, "topologyKey": "kubernetes.io/hostname"}
                ]
            }
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "z",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["1"]}]},
            }
        ],
        "enableServiceLinks": True,
        "automountServiceAccountToken": False,
    },
}


@pytest.mark.parametrize(
    ("template", "digest"),
    [({"metadata": {"labels": {"app": "d"}}, "spec": SPEC}, "6d458bdd4d"), (RICH, "54ccf58867")],
)
def test_hashes_are_those_of_a_real_cluster(template, digest):
    assert template_hash(template, None) == digest


def test_a_collision_moves_the_hash():
    template = {"metadata": {}, "spec": SPEC}
    assert len({template_hash(template, count) for count in (None, 0, 1, 2)}) == 4


def test_a_long_name_is_cut_to_fit():
    assert len(replica_set_name("x" * 300, "6d458bdd4d")) == 253
