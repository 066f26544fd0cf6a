"""What the tables of Services' rules are written with: messages, and bodies of requests."""

from typing import Any

LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
).replace("\\\\", "\\")
QUALIFIED = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
BALANCER = "Forbidden: may only be used when `type` is 'LoadBalancer'"
EXTERNAL = "Forbidden: may not be set for ExternalName services"
BAD_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
BAD_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
HEALTH = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
ONCE = "may not change once set"
ELSEWHERE = {"type": "ExternalName", "externalName": "a.example", "ports": []}
OUTSIDE = "may only be set for externally-accessible services"


def port(number: int = 80, **fields: Any) -> Any:
    return {"port": number, **fields}


def body(name: str, annotations: Any = None, **spec: Any) -> Any:
    metadata = {"name": name} | ({"annotations": annotations} if annotations else {})
    return {"metadata": metadata, "spec": {"ports": [port()], **spec}}


def causes(answer: Any) -> list[str]:
    """Return what was refused, cause by cause."""
    assert answer.status == 422, answer.body
    assert answer.body["reason"] == "Invalid"
    assert answer.body["details"]["kind"] == "Service"
    return [f"{cause['field']}: {cause['message']}" for cause in answer.body["details"]["causes"]]
