"""Generate `src/homeport/server/_facts/protobuf.json.z`: field numbers of the kinds' protobuf messages, without prose.

    go mod download k8s.io/api@v0.36.0 k8s.io/apimachinery@v0.36.0      (in any folder with a go.mod)
    python tools/protobuf_numbers.py "$(go env GOMODCACHE)/k8s.io" v0.36.0 src/homeport/server/_facts/protobuf.json.z

Developer-run; the result is committed. The source is the published `generated.proto` files (Apache-2.0).

Format: {message: {number: [json name, type code]}}. Messages are named as the types of the schema. Type
codes as in the schema's facts, and `~name` for a message whose fields belong to the object around it.
"""

import argparse
import json
import re
import zlib
from pathlib import Path

from homeport.api import schema

PACKAGES = {
    "meta.v1": "apimachinery@{v}/pkg/apis/meta/v1",
    "core.v1": "api@{v}/core/v1",
    "apps.v1": "api@{v}/apps/v1",
    "discovery.v1": "api@{v}/discovery/v1",
    "coordination.v1": "api@{v}/coordination/v1",
    "storage.v1": "api@{v}/storage/v1",
    "events.v1": "api@{v}/events/v1",
    "autoscaling.v1": "api@{v}/autoscaling/v1",
    "autoscaling.v2": "api@{v}/autoscaling/v2",
    "policy.v1": "api@{v}/policy/v1",
    "authentication.v1": "api@{v}/authentication/v1",
    "authorization.v1": "api@{v}/authorization/v1",
    "rbac.v1": "api@{v}/rbac/v1",
    "batch.v1": "api@{v}/batch/v1",
    "scheduling.v1": "api@{v}/scheduling/v1",
    "networking.v1": "api@{v}/networking/v1",
}
SCALARS = {
    "string": "s",
    "int32": "i",
    "int64": "l",
    "bool": "b",
    "bytes": "y",
    "double": "n",
    "float": "n",
    ".k8s.io.apimachinery.pkg.api.resource.Quantity": "q",
    ".k8s.io.apimachinery.pkg.util.intstr.IntOrString": "x",
    ".k8s.io.apimachinery.pkg.apis.meta.v1.Time": "t",
    ".k8s.io.apimachinery.pkg.apis.meta.v1.MicroTime": "u",
    ".k8s.io.apimachinery.pkg.apis.meta.v1.FieldsV1": "f",
    ".k8s.io.apimachinery.pkg.runtime.RawExtension": "r",
}
LOCAL = {"meta.v1.Time": "t", "meta.v1.MicroTime": "u", "meta.v1.FieldsV1": "f"}
IMPORTED = re.compile(r"\.k8s\.io\.(?:api|apimachinery\.pkg\.apis)\.(\w+)\.(\w+)\.(\w+)$")
FIELD = re.compile(
    r"^\s*(?:(optional|repeated|required)\s+)?(map<\s*(\w+)\s*,\s*([.\w]+)\s*>|[.\w]+)\s+(\w+)\s*=\s*(\d+);"
)
ROOTS = ("meta.v1.DeleteOptions",)


def messages(package: str, text: str) -> dict[str, dict[str, list[str]]]:
    """Return the messages of one file."""
    found: dict[str, dict[str, list[str]]] = {}
    current: dict[str, list[str]] = {}
    for line in text.splitlines():
        if opened := re.match(r"^message (\w+) \{", line):
            current = found[f"{package}.{opened.group(1)}"] = {}
        elif field := FIELD.match(line):
            label, whole, _, value, name, number = field.groups()
            if value:
                code = "{}" + type_code(package, value)
            else:
                code = ("[]" if label == "repeated" else "") + type_code(package, whole)
            current[number] = [name, code]
    return found


def type_code(package: str, name: str) -> str:
    if name in SCALARS:
        return SCALARS[name]
    if imported := IMPORTED.match(name):
        name = ".".join(imported.groups())
    else:
        name = f"{package}.{name}"
    return LOCAL.get(name, f"@{name}")


def is_list_wrapper(fields: dict[str, list[str]]) -> bool:
    """Tell whether a message only carries a list that JSON shows bare (`ExtraValue`)."""
    return list(fields.values()) == [["items", "[]s"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", type=Path)
    parser.add_argument("version")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    found: dict[str, dict[str, list[str]]] = {}
    for package, folder in PACKAGES.items():
        path = arguments.modules / folder.format(v=arguments.version) / "generated.proto"
        found |= messages(package, path.read_text())
    kept: dict[str, dict[str, list[str]]] = {}
    waiting = [*ROOTS]
    for gvk in schema.known_kinds():
        kind = schema.kind_type(gvk)
        assert kind is not None
        waiting.append(kind.name)
    while waiting:
        name = waiting.pop()
        if name in kept or name not in found:
            continue
        fields = found[name]
        try:
            known = schema.struct(name).fields.keys()
        except KeyError:
            known = {field for field, _ in fields.values()}
        by_case = {field.lower(): field for field in known}
        for field in fields.values():
            field[0] = by_case.get(field[0].lower(), field[0])
            if field[0] not in known and field[1].startswith("@"):
                field[1] = "~" + field[1][1:]
            elif field[0] not in known:
                raise SystemExit(f"{name}.{field[0]} is not in the schema")
            if field[1].lstrip("[]{}").startswith(("@", "~")):
                waiting.append(field[1].lstrip("[]{}")[1:])
        kept[name] = fields
    wrappers = {name for name, fields in kept.items() if is_list_wrapper(fields)}
    for fields in kept.values():
        for field in fields.values():
            if field[1].lstrip("[]{}@~") in wrappers:
                field[1] = field[1].replace("@", "%")
    packed = json.dumps(kept, separators=(",", ":"), sort_keys=True).encode()
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_bytes(zlib.compress(packed, 9))
    print(f"{len(kept)} messages, {arguments.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
