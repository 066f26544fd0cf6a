"""What a pod's names and resolver are refused for, row by row (services-dns 16; RelaxedDNSSearchValidation is on)."""

from typing import Any

import pytest
from tests.api.objects import POD, STATEFUL_SET, pod, refusals, workload

LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
)
SUBDOMAIN = RULE + r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
SEARCH = RULE + r"'_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')"
BAD_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
POLICIES = '"ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"'  # in the order upstream declares them
FIVE = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]
MANY = [f"s{number}.example" for number in range(33)]
LONG = ["x" * 250] * 9


def config(**fields: Any) -> dict[str, Any]:
    return {"dnsConfig": fields}


def shown(values: list[str]) -> str:
    return "[" + ",".join(f'"{value}"' for value in values) + "]"


@pytest.mark.parametrize(
    ("spec", "refused"),
    [
        ({"dnsPolicy": "None"}, ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"]),
        (
            {"dnsPolicy": "None", **config(searches=["a"])},
            [
                "spec.dnsConfig.nameservers: Required value: "
                "must provide at least one DNS nameserver when `dnsPolicy` is None"
            ],
        ),
        ({"dnsPolicy": "None", **config(nameservers=["192.0.2.1"])}, []),
        ({"dnsPolicy": "First"}, [f'spec.dnsPolicy: Unsupported value: "First": supported values: {POLICIES}']),
        (
            config(nameservers=FIVE),
            [f"spec.dnsConfig.nameservers: Invalid value: {shown(FIVE)}: must not have more than 3 nameservers"],
        ),
        (
            config(nameservers=["x", "192.0.2.01"]),
            [
                f'spec.dnsConfig.nameservers[0]: Invalid value: "x": {BAD_IP}',
                'spec.dnsConfig.nameservers[1]: Invalid value: "192.0.2.01": must not have leading 0s',
            ],
        ),
        (
            config(searches=MANY),
            [f"spec.dnsConfig.searches: Invalid value: {shown(MANY)}: must not have more than 32 search paths"],
        ),
        (
            config(searches=LONG),
            [
                f"spec.dnsConfig.searches: Invalid value: {shown(LONG)}: "
                "must not have more than 2048 characters (including spaces) in the search list",
            ],
        ),
        (config(searches=[".", "_tcp.example.", "a_b.example"]), []),
        (config(searches=["A."]), [f'spec.dnsConfig.searches[0]: Invalid value: "A": {SEARCH}']),
        (config(options=[{"value": "1"}]), ["spec.dnsConfig.options[0]: Required value: must not be empty"]),
        ({"hostname": "a.b"}, ['spec.hostname: Invalid value: "a.b": must not contain dots']),
        ({"subdomain": "A"}, [f'spec.subdomain: Invalid value: "A": {LABEL}']),
        (
            {"hostAliases": [{"ip": "x", "hostnames": ["A_b", "ok.example"]}]},
            [
                f'spec.hostAliases[0].ip: Invalid value: "x": {BAD_IP}',
                f'spec.hostAliases[0].hostnames[0]: Invalid value: "A_b": {SUBDOMAIN}',
            ],
        ),
        (
            {"hostnameOverride": "a", "setHostnameAsFQDN": True},
            ["spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true"],
        ),
        (
            {"hostnameOverride": "a", "hostNetwork": True},
            ["spec.hostnameOverride: Forbidden: may not be specified when hostNetwork is true"],
        ),
        ({"hostnameOverride": "a" * 65}, ["spec.hostnameOverride: Too long: may not be more than 64 bytes"]),
        ({"hostnameOverride": "A"}, [f'spec.hostnameOverride: Invalid value: "A": {SUBDOMAIN}']),
        ({"hostnameOverride": "a.b.c"}, []),
    ],
)
def test_a_pod_is_refused(spec: dict[str, Any], refused: list[str]) -> None:
    assert refusals(POD, pod(**spec)) == refused


def test_a_template_is_refused_alike() -> None:
    body = workload(serviceName="s")
    body["spec"]["template"]["spec"]["dnsPolicy"] = "None"
    assert refusals(STATEFUL_SET, body) == [
        "spec.template.spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"
    ]
