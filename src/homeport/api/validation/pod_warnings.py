"""What is odd about a pod spec though it is allowed: the warnings for pods and pod templates."""

from collections.abc import Iterator
from typing import Any, Final

from homeport.api.quantity import parse_quantity
from homeport.api.validation import addresses, names

__all__ = ["DEPRECATED_VOLUMES", "fraction", "network_spelling", "node_term", "pod_spec_warnings", "spelling"]

Tree = dict[str, Any]

DEPRECATED_VOLUMES: Final = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
_DEPRECATED_LABELS: Final = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}
_DEPRECATED_ANNOTATIONS: Final = {
    "scheduler.alpha.kubernetes.io/critical-pod": 'non-functional in v1.16+; use the "priorityClassName" field instead',
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"
_NO_SELECTOR: Final = "a null labelSelector results in matching no pod"
_GROUPS: Final = ("initContainers", "containers", "ephemeralContainers")


def pod_spec_warnings(spec: Tree, metadata: Tree, path: str = "") -> Iterator[str]:
    """Yield the warnings for a pod (`path` empty) or a template (`path` such as `spec.template`), in order."""
    prefix = f"{path}." if path else ""
    here = f"{prefix}spec"
    for key in spec.get("nodeSelector", ()):
        if text := _DEPRECATED_LABELS.get(key):
            yield f"{here}.nodeSelector[{key}]: {text}"
    affinity = spec.get("affinity") or {}
    if affinity:
        yield from _node_affinity(affinity.get("nodeAffinity") or {}, f"{here}.affinity.nodeAffinity")
    for index, constraint in enumerate(spec.get("topologySpreadConstraints", ())):
        below = f"{here}.topologySpreadConstraints[{index}]"
        key = constraint.get("topologyKey", "")
        if text := _DEPRECATED_LABELS.get(key):
            yield f"{below}.topologyKey: {key} is {text}"
        if "labelSelector" not in constraint:
            yield f"{below}.labelSelector: {_NO_SELECTOR}"
    for key in metadata.get("annotations", ()):
        if text := _DEPRECATED_ANNOTATIONS.get(key):
            yield f"{prefix}metadata.annotations[{key}]: {text}"
    for index, volume in enumerate(spec.get("volumes", ())):
        for kind, text in DEPRECATED_VOLUMES.items():
            if kind in volume:
                shown = "storageOS" if kind == "storageos" else kind
                yield f"{here}.volumes[{index}].{shown}: {text}"
    yield from _repeated(spec.get("hostAliases", ()), "ip", f"{here}.hostAliases")
    secrets = spec.get("imagePullSecrets", ())
    yield from _repeated(secrets, "name", f"{here}.imagePullSecrets")
    for index, secret in enumerate(secrets):
        if not secret.get("name"):
            yield f'{here}.imagePullSecrets[{index}].name: invalid empty name ""'
    for name in ("memory", "ephemeral-storage"):
        if amount := spec.get("overhead", {}).get(name):
            yield from fraction(amount, f"{here}.overhead[{name}]")
    for where, container in _containers(spec, here):
        yield from _amounts(container.get("resources") or {}, where)
        if len(container.get("env", ())) > 1:
            yield from _hidden_variables(container["env"], where)
    yield from _ports(spec, here)
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        text = "must be >= 0; negative values are invalid and will be treated as 1"
        yield f"{here}.terminationGracePeriodSeconds: {text}"
    for kind in ("podAffinity", "podAntiAffinity"):
        yield from _pod_affinity(affinity.get(kind) or {}, f"{here}.affinity.{kind}")
    for index, server in enumerate((spec.get("dnsConfig") or {}).get("nameservers", ())):
        yield from spelling(server, f"{here}.dnsConfig.nameservers[{index}]")
    for index, alias in enumerate(spec.get("hostAliases", ())):
        yield from spelling(alias.get("ip", ""), f"{here}.hostAliases[{index}].ip")


def _containers(spec: Tree, path: str) -> Iterator[tuple[str, Tree]]:
    for group in _GROUPS:
        for index, container in enumerate(spec.get(group) or ()):
            yield f"{path}.{group}[{index}]", container


def _repeated(items: Any, field: str, path: str) -> Iterator[str]:
    seen: set[str] = set()
    for index, item in enumerate(items):
        value = item.get(field, "")
        if value in seen:
            yield f'{path}[{index}].{field}: duplicate {field} "{value}"'
        seen.add(value)


def fraction(amount: str, path: str) -> Iterator[str]:
    """Warn of an amount of bytes that is not whole."""
    if amount.endswith("m") and parse_quantity(amount).milli % 1000:
        yield f'{path}: fractional byte value "{amount}" is invalid, must be an integer'


def _amounts(resources: Tree, path: str) -> Iterator[str]:
    for name in ("memory", "ephemeral-storage"):
        for kind in ("limits", "requests"):
            if amount := resources.get(kind, {}).get(name):
                yield from fraction(amount, f"{path}.resources.{kind}[{name}]")


def _hidden_variables(env: list[Tree], path: str) -> Iterator[str]:
    """A repeated variable is fine only if it extends the earlier one by referring to it."""
    seen: set[str] = set()
    for index, variable in enumerate(env):
        name, value = variable.get("name", ""), variable.get("value", "")
        reference = f"$({name})"
        if name in seen and ("valueFrom" in variable or value == reference or reference not in value):
            yield f'{path}.env[{index}]: hides previous definition of "{name}", which may be dropped when using apply'
        seen.add(name)


def _ports(spec: Tree, path: str) -> Iterator[str]:
    by_number: dict[tuple[int, str], list[tuple[str, str, int]]] = {}
    names_taken: list[tuple[str, str]] = []
    for where, container in _containers(spec, path):
        for index, port in enumerate(container.get("ports", ())):
            here = f"{where}.ports[{index}]"
            ip, host_port = port.get("hostIP", ""), port.get("hostPort", 0)
            others = by_number.setdefault((port.get("containerPort", 0), port.get("protocol", "")), [])
            for other, other_ip, other_port in others:
                if ip == other_ip and host_port == other_port:
                    yield f"{here}: duplicate port definition with {other}"
                elif not host_port or not other_port:
                    yield f"{here}: overlapping port definition with {other}"
                elif host_port == other_port and (not ip) != (not other_ip):
                    yield f"{here}: dangerously ambiguous port definition with {other}"
            others.append((here, ip, host_port))
            if port.get("name"):
                names_taken.append((port["name"], here))
    first: dict[str, str] = {}
    for name, here in names_taken:
        if name in first:
            text = "services and probes that select ports by name will use"
            yield f'{here}: duplicate port name "{name}" with {first[name]}, {text} {first[name]}'
        else:
            first[name] = here


def _node_affinity(affinity: Tree, path: str) -> Iterator[str]:
    terms = affinity.get(_REQUIRED, {}).get("nodeSelectorTerms") or ()
    for index, term in enumerate(terms):
        yield from node_term(term, f"{path}.{_REQUIRED}.nodeSelectorTerms[{index}]")
    for index, weighted in enumerate(affinity.get(_PREFERRED, ())):
        below = f"{path}.{_PREFERRED}[{index}].preference"
        yield from node_term(weighted.get("preference") or {}, below, check_values=True)


def node_term(term: Tree, path: str, *, check_values: bool = False) -> Iterator[str]:
    for index, expression in enumerate(term.get("matchExpressions", ())):
        here = f"{path}.matchExpressions[{index}]"
        if text := _DEPRECATED_LABELS.get(expression.get("key", "")):
            yield f"{here}.key: {expression['key']} is {text}"
        if check_values:
            for position, value in enumerate(expression.get("values", ())):
                for problem in names.label_value(value):
                    yield f"{here}.values[{position}]: {value} is invalid, {problem}"


def _pod_affinity(affinity: Tree, path: str) -> Iterator[str]:
    for index, term in enumerate(affinity.get(_REQUIRED, ())):
        if "labelSelector" not in term:
            yield f"{path}.{_REQUIRED}[{index}].labelSelector: {_NO_SELECTOR}"
    for index, weighted in enumerate(affinity.get(_PREFERRED, ())):
        if "labelSelector" not in (weighted.get("podAffinityTerm") or {}):
            yield f"{path}.{_PREFERRED}[{index}].podAffinityTerm.labelSelector: {_NO_SELECTOR}"


def spelling(address: str, path: str) -> Iterator[str]:
    """Warn of an address that is read today but is not written as it should be; of what is none nothing is said."""
    if addresses.ip(address):
        if standard := addresses.standard_ip(address):
            text = "will be considered invalid in a future Kubernetes release: use"
            yield f'{path}: non-standard IP address "{address}" {text} "{standard}"'
        return
    canonical = addresses.canonical_ip(address)
    if canonical != address:
        yield f'{path}: IPv6 address "{address}" should be in RFC 5952 canonical format ("{canonical}")'


def network_spelling(network: str, path: str) -> Iterator[str]:
    """Warn of an IPv6 network not written as RFC 5952 wants it."""
    canonical = addresses.canonical_network(network)
    if canonical and canonical != network:
        yield f'{path}: IPv6 CIDR value "{network}" should be in RFC 5952 canonical format ("{canonical}")'
