"""Generate `src/homeport/api/_facts/facts.json.z`: what the API server must know about every field, without prose.

    go mod download k8s.io/api@v0.36.0 k8s.io/apimachinery@v0.36.0 k8s.io/metrics@v0.36.0    # in a Go module
    python tools/schema_facts.py "$(go env GOMODCACHE)/k8s.io" v0.36.0 src/homeport/api/_facts

Developer-run; the result is committed. The source is the published Go API module (Apache-2.0), because it alone says
which fields are pointers: `replicas: 0` survives a round trip and `paused: false` does not. The published JSON Schemas
(`kubernetes-validate`) serve as a cross-check: `--check SCHEMAS` compares names, types, list keys and merge keys with
the `_definitions.json` of one release.

Format: {"types": {type: [go name, flags, [[json name, type code, flags, extras], ...]]}, "kinds": {...}}, fields in the
order Go writes them. Type codes: s string, i int32, l int64, n float, b bool, q quantity, x int-or-string, t time,
u micro time, y bytes, r raw JSON, f field set, `[]T`, `{}T`, `@type`. Field flags: p pointer, e omitempty, z omitzero,
o optional. Extras: lt list type, lk list keys, ps patch strategy, mk merge key, mt map or struct type, gt the named Go
type (of the items, for a list) as decoding errors print it, gn the Go field name where it is not the capitalised JSON
name. Struct flag: a atomic.

`internal.json.z` says how the server's internal form of a few types is laid out, {type: [[go name, type code], ...]},
because some refusals list differences in that form. It needs `k8s.io/kubernetes` (same minor version) as well; here `j`
is a value printed as its JSON form, and a leading `*` a pointer.
"""

import argparse
import json
import re
import zlib
from pathlib import Path
from typing import Any

PACKAGES = {
    "meta.v1": "apimachinery@{v}/pkg/apis/meta/v1",
    "core.v1": "api@{v}/core/v1",
    "apps.v1": "api@{v}/apps/v1",
    "batch.v1": "api@{v}/batch/v1",
    "scheduling.v1": "api@{v}/scheduling/v1",
    "discovery.v1": "api@{v}/discovery/v1",
    "coordination.v1": "api@{v}/coordination/v1",
    "storage.v1": "api@{v}/storage/v1",
    "events.v1": "api@{v}/events/v1",
    "autoscaling.v1": "api@{v}/autoscaling/v1",
    "autoscaling.v2": "api@{v}/autoscaling/v2",
    "metrics.v1beta1": "metrics@{v}/pkg/apis/metrics/v1beta1",
    "policy.v1": "api@{v}/policy/v1",
    "authentication.v1": "api@{v}/authentication/v1",
    "authorization.v1": "api@{v}/authorization/v1",
    "rbac.v1": "api@{v}/rbac/v1",
    "networking.v1": "api@{v}/networking/v1",
}
IMPORTS = {"metav1": "meta.v1", "v1": "core.v1", "apiv1": "core.v1", "corev1": "core.v1"}
GROUPS = {
    "core": "",
    "apps": "apps",
    "batch": "batch",
    "scheduling": "scheduling.k8s.io",
    "discovery": "discovery.k8s.io",
    "coordination": "coordination.k8s.io",
    "storage": "storage.k8s.io",
    "events": "events.k8s.io",
    "autoscaling": "autoscaling",
    "metrics": "metrics.k8s.io",
    "policy": "policy",
    "authentication": "authentication.k8s.io",
    "authorization": "authorization.k8s.io",
    "rbac": "rbac.authorization.k8s.io",
    "networking": "networking.k8s.io",
}
KINDS = {
    "core.v1": "Namespace Node Pod Service Endpoints ConfigMap Secret ServiceAccount Event PersistentVolume "
    "PersistentVolumeClaim Binding PodTemplate ReplicationController LimitRange ResourceQuota",
    "apps.v1": "StatefulSet Deployment ReplicaSet ControllerRevision DaemonSet",
    "batch.v1": "Job CronJob",
    "scheduling.v1": "PriorityClass",
    "discovery.v1": "EndpointSlice",
    "coordination.v1": "Lease",
    "storage.v1": "StorageClass",
    "events.v1": "Event",
    "autoscaling.v1": "Scale HorizontalPodAutoscaler",
    "autoscaling.v2": "HorizontalPodAutoscaler",
    "metrics.v1beta1": "NodeMetrics PodMetrics",
    "policy.v1": "Eviction PodDisruptionBudget",
    "authentication.v1": "TokenRequest TokenReview SelfSubjectReview",
    "authorization.v1": "SelfSubjectAccessReview SubjectAccessReview LocalSubjectAccessReview SelfSubjectRulesReview",
    "rbac.v1": "Role RoleBinding ClusterRole ClusterRoleBinding",
    "networking.v1": "IPAddress ServiceCIDR",
    "meta.v1": "DeleteOptions CreateOptions UpdateOptions PatchOptions ListOptions",
}
SCALARS = {
    "string": "s", "int32": "i", "int64": "l", "int": "l", "uint32": "l", "uint8": "i", "bool": "b", "float64": "n",
    "[]byte": "y", "types.UID": "s", "types.NodeName": "s", "resource.Quantity": "q", "intstr.IntOrString": "x",
    "runtime.RawExtension": "r", "meta.v1.Time": "t", "meta.v1.MicroTime": "u", "meta.v1.FieldsV1": "f",
    "meta.v1.Duration": "s",
}  # fmt: skip

STRUCT = re.compile(r"^type (\w+) struct \{")
NAMED = re.compile(r"^type (\w+) =? ?([\w.\[\]*]+)")
UNTAGGED = re.compile(r"^\t(?:(\w+) +)?([\w.\[\]*]+)(?: +`[^`]*`)?\s*(?://.*)?$")
INTERNAL_ROOTS = ("PodSpec", "PersistentVolumeClaimSpec", "PersistentVolumeSource", "EphemeralContainer")
INTERNAL_SCALARS = {
    "string": "s", "int32": "i", "int64": "l", "int": "i", "bool": "b", "types.UID": "s", "types.NodeName": "s",
    "resource.Quantity": "q", "intstr.IntOrString": "x",
}  # fmt: skip
FIELD = re.compile(r"^\t(?:(\w+) +)?([\w.\[\]*]+) +`([^`]*)`")
TAG = re.compile(r'(\w+):"([^"]*)"')
MARK = re.compile(r"^\s*// ?\+(.*)$")


class Package:
    """The type declarations of one Go package, as text facts."""

    def __init__(self, name: str, folder: Path, field: re.Pattern[str] = FIELD) -> None:
        self.name = name
        self._field = field
        self.named: dict[str, str] = {}
        self.structs: dict[str, tuple[list[str], list[tuple[str, str, dict[str, str], list[str]]]]] = {}
        for path in sorted(folder.glob("*types.go")):
            self._read(path.read_text())

    def _read(self, text: str) -> None:
        marks: list[str] = []
        current: list[tuple[str, str, dict[str, str], list[str]]] | None = None
        for line in text.split("\n"):
            if mark := MARK.match(line):
                marks.append(mark[1].strip())
                continue
            if line.lstrip().startswith("//"):
                continue
            if current is None:
                if found := STRUCT.match(line):
                    current = []
                    self.structs[found[1]] = (marks, current)
                    if line.rstrip().endswith("}"):
                        current = None
                elif found := NAMED.match(line):
                    self.named[found[1]] = found[2]
                marks = []
            elif line.startswith("}"):
                current, marks = None, []
            elif found := self._field.match(line):
                tags = dict(TAG.findall(line.partition("`")[2]))
                current.append((found[1] or "", found[2], tags, marks))
                marks = []
            elif not line.strip():
                marks = marks if current == [] else []


class Facts:
    """Collects every type reachable from the kinds."""

    def __init__(self, packages: dict[str, Package]) -> None:
        self.packages = packages
        self.types: dict[str, Any] = {}

    def qualify(self, package: str, go: str) -> str:
        """Return a Go type name with its package spelled as in PACKAGES."""
        if "." in go:
            alias, name = go.split(".", 1)
            return f"{IMPORTS[alias]}.{name}" if alias in IMPORTS else go
        local = f"{package}.{go}"
        if local in SCALARS or go in self.packages[package].structs or go in self.packages[package].named:
            return local
        return go

    def code(self, package: str, go: str) -> str:
        if go in SCALARS:
            return SCALARS[go]
        if go.startswith("*"):
            return self.code(package, go[1:])
        if go.startswith("[]"):
            return "[]" + self.code(package, go[2:])
        if found := re.match(r"map\[[\w.]+\](.*)$", go):
            return "{}" + self.code(package, found[1])
        full = self.qualify(package, go)
        if full in SCALARS:
            return SCALARS[full]
        if "." not in full:
            raise ValueError(f"{package}: cannot place the Go type {go!r}")
        owner, name = full.rsplit(".", 1)
        if name in self.packages[owner].named:
            return self.code(owner, self.packages[owner].named[name])
        self.add(full)
        return "@" + full

    def named_type(self, package: str, go: str) -> str:
        """Return the Go name of a field's scalar or map type when it has one of its own, else the empty string."""
        full = self.qualify(package, go.lstrip("*[]"))
        owner, _, name = full.rpartition(".")
        if owner in self.packages and name in self.packages[owner].named:
            return f"v1.{name}"
        return full if full in ("types.UID", "types.NodeName") else ""

    def add(self, full: str) -> None:
        if full in self.types:
            return
        owner, name = full.rsplit(".", 1)
        marks, _ = self.packages[owner].structs[name]
        fields: list[Any] = []
        self.types[full] = [name, "a" if "structType=atomic" in marks else "", fields]
        fields.extend(self.fields(owner, name))

    def fields(self, owner: str, name: str) -> list[Any]:
        out: list[Any] = []
        for go_name, go, tags, marks in self.packages[owner].structs[name][1]:
            json_name, *options = tags.get("json", "").split(",")
            if json_name == "-":
                continue
            if "inline" in options:
                inner_owner, inner = self.qualify(owner, go).rsplit(".", 1)
                out.extend(self.fields(inner_owner, inner))
                continue
            flags = "p" * go.startswith("*") + "e" * ("omitempty" in options) + "z" * ("omitzero" in options)
            if any(mark.split(":")[0].strip() in ("optional", "k8s:optional") for mark in marks):
                flags += "o"
            extras: dict[str, Any] = {}
            keys = [mark.split("=", 1)[1] for mark in marks if mark.startswith("listMapKey=")]
            for mark in marks:
                if mark.startswith("listType="):
                    extras["lt"] = mark.split("=", 1)[1]
                elif mark.startswith(("mapType=", "structType=")):
                    extras["mt"] = mark.split("=", 1)[1]
            if keys:
                extras["lk"] = keys
            if "patchStrategy" in tags:
                extras["ps"] = tags["patchStrategy"]
            if "patchMergeKey" in tags:
                extras["mk"] = tags["patchMergeKey"]
            code = self.code(owner, go)
            if named := self.named_type(owner, go):
                extras["gt"] = named
            if go_name and go_name != json_name[0].upper() + json_name[1:]:
                extras["gn"] = go_name
            out.append([json_name, code, flags, extras] if extras else [json_name, code, flags])
        return out


def collect(root: Path, version: str) -> dict[str, Any]:
    packages = {name: Package(name, root / folder.format(v=version)) for name, folder in PACKAGES.items()}
    facts = Facts(packages)
    kinds: dict[str, str] = {}
    for package, names in KINDS.items():
        for name in names.split():
            facts.add(f"{package}.{name}")
            group = GROUPS.get(package.split(".")[0])
            if group is not None:
                kinds[f"{group}/{package.rpartition('.')[2]}/{name}"] = f"{package}.{name}"
            else:
                kinds[f"meta.k8s.io/v1/{name}"] = f"{package}.{name}"
    return {"types": facts.types, "kinds": kinds}


def internal(folder: Path) -> dict[str, list[list[str]]]:
    """Return the layout of the internal types reachable from INTERNAL_ROOTS."""
    package = Package("core", folder, UNTAGGED)
    types: dict[str, list[list[str]]] = {}

    def code(go: str) -> str:
        if go.startswith("*"):
            return "*" + code(go[1:])
        if go.startswith("[]"):
            return "[]" + code(go[2:])
        if found := re.match(r"map\[[\w.]+\](.*)$", go):
            return "{}" + code(found[1])
        if go in INTERNAL_SCALARS:
            return INTERNAL_SCALARS[go]
        if go in package.named:
            return code(package.named[go])
        if go in package.structs:
            add(go)
            return "@" + go
        return "j"

    def fields(name: str) -> list[list[str]]:
        out: list[list[str]] = []
        for field, go, _, _ in package.structs[name][1]:
            if field:
                out.append([field, code(go)])
            elif go in package.structs:  # metadata inside a claim template is left out: no refusal shows it
                out.extend(fields(go))
        return out

    def add(name: str) -> None:
        if name not in types:
            types[name] = []
            types[name] = fields(name)

    for root in INTERNAL_ROOTS:
        add(root)
    return types


def write(path: Path, facts: object) -> None:
    text = json.dumps(facts, separators=(",", ":")).encode()
    path.write_bytes(zlib.compress(text, 9))
    print(f"{path.name}: {len(text)} bytes, {path.stat().st_size} compressed")


def check(facts: dict[str, Any], definitions: Path) -> list[str]:
    """Return what differs from the published schemas: field names, list types and keys, patch strategies."""
    schemas: dict[str, Any] = json.loads(definitions.read_text())["$defs"]
    by_tail = {".".join(name.split(".")[-3:]): schema for name, schema in schemas.items()}
    marks = {"lt": "list-type", "lk": "list-map-keys", "ps": "patch-strategy", "mk": "patch-merge-key"}
    differences = []
    for name, (_, _, fields) in facts["types"].items():
        schema = by_tail.get(name)
        if schema is None:
            differences.append(f"{name}: not in the schemas")
            continue
        properties = schema.get("properties", {})
        if set(properties) != {field[0] for field in fields}:
            differences.append(f"{name}: fields {sorted(set(properties) ^ {field[0] for field in fields})}")
        for json_name, _, _, *rest in fields:
            extras = rest[0] if rest else {}
            for short, long in marks.items():
                theirs = properties.get(json_name, {}).get(f"x-kubernetes-{long}")
                if theirs != extras.get(short):
                    differences.append(f"{name}.{json_name}: {long} {extras.get(short)!r}, schemas {theirs!r}")
    return differences


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("modules", type=Path, help="folder that holds api@VERSION and apimachinery@VERSION")
    parser.add_argument("version")
    parser.add_argument("output", type=Path, help="folder for the facts")
    parser.add_argument("--check", type=Path, help="_definitions.json to compare with")
    options = parser.parse_args()
    facts = collect(options.modules, options.version)
    write(options.output / "facts.json.z", facts)
    kubernetes = f"kubernetes@v1{options.version.removeprefix('v0')}"
    write(options.output / "internal.json.z", internal(options.modules / kubernetes / "pkg/apis/core"))
    if options.check:
        print("\n".join(check(facts, options.check)) or "agrees with the schemas")


if __name__ == "__main__":
    main()
