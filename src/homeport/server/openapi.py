"""What clients look for in the OpenAPI documents, and the discovery of the token issuer (api-machinery 4, 20.4).

The documents name every kind's PATCH operation with its parameters, from which kubectl learns that the server validates
fields and merges strategically, and the kinds' schemas, without prose.
"""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from typing import Final

from homeport.api.exchange import Request, Response
from homeport.api.release import KUBERNETES_VERSION
from homeport.api.resources import RESOURCES, Resource
from homeport.server.objects import Tree, encode_json
from homeport.server.openapi_schemas import schemas
from homeport.server.settings import Settings
from homeport.server.tokens import Tokens

__all__ = ["OpenApi"]

_V2_PROTOBUF: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_PARAMETERS: Final = ("dryRun", "fieldManager", "fieldValidation", "force", "pretty")
_PATCHES: Final = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_JSON: Final = [("content-type", "application/json")]


class OpenApi:
    """Answers `/openapi/...`, `/.well-known/openid-configuration` and `/openid/v1/jwks`."""

    def __init__(self, tokens: Tokens, settings: Settings) -> None:
        self._tokens, self._settings = tokens, settings

    def answer(self, request: Request, query: Mapping[str, str]) -> Response | None:
        """Return the response for one of these paths, or None for any other."""
        path = request.path
        if path == "/openapi/v3":
            return Response(200, list(_JSON), encode_json({"paths": {key: _reference(key) for key in _keys()}}))
        if path.startswith("/openapi/v3/"):
            key = path.removeprefix("/openapi/v3/")
            return _versioned(key, query.get("hash", "")) if key in _keys() else None
        if path == "/openapi/v2":
            return self._v2(request)
        if path == "/.well-known/openid-configuration":
            return Response(200, list(_JSON), encode_json(self._issuer()))
        if path == "/openid/v1/jwks":
            return Response(200, [("content-type", "application/jwk-set+json")], encode_json(self._tokens.jwks()))
        return None

    def _v2(self, request: Request) -> Response:
        accept = request.headers.get("accept", "")
        if "protobuf" in accept:
            return Response(200, [("content-type", _V2_PROTOBUF)], _v2_protobuf())
        document = {
            "swagger": "2.0",
            "info": {"title": "Kubernetes", "version": self._settings.git_version},
            "paths": {},
        }
        return Response(200, list(_JSON), encode_json(document))

    def _issuer(self) -> Tree:
        return {
            "issuer": self._settings.issuer,
            "jwks_uri": f"{self._settings.issuer}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }


@cache
def _keys() -> Mapping[str, tuple[Resource, ...]]:
    keys: dict[str, tuple[Resource, ...]] = {}
    for resource in RESOURCES:
        key = resource.prefix[1:]
        keys[key] = (*keys.get(key, ()), resource)
    return keys


def _reference(key: str) -> Tree:
    return {"serverRelativeURL": f"/openapi/v3/{key}?hash={_digest(key)}"}


@cache
def _digest(key: str) -> str:
    return sha256(_document(key)).hexdigest().upper()


def _versioned(key: str, asked: str) -> Response:
    """Answer with one group version's document; under its hash it may be kept for ever (4.4)."""
    digest = _digest(key)
    if asked and asked != digest:
        return Response(301, [("location", f"/openapi/v3/{key}?hash={digest}")])
    headers = [*_JSON, ("etag", f'"{digest}"'), ("vary", "Accept")]
    if asked:
        headers.append(("cache-control", "public, immutable"))
    return Response(200, headers, _document(key))


@cache
def _document(key: str) -> bytes:
    return encode_json(
        {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": KUBERNETES_VERSION},
            "paths": {_template(resource): _operations(resource) for resource in _keys()[key]},
            "components": {"schemas": schemas(_keys()[key])},
        }
    )


def _template(resource: Resource) -> str:
    return resource.path("{namespace}", "{name}")


def _operations(resource: Resource) -> Tree:
    gvk = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    parameters = [
        {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}} for name in _PARAMETERS
    ]
    schema = {"schema": {"type": "object"}}
    return {
        "patch": {
            "parameters": parameters,
            "requestBody": {"content": dict.fromkeys(_PATCHES, schema)},
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": gvk,
        }
    }


def _field(number: int, data: bytes) -> bytes:
    """Return a length-delimited field of the protobuf encoding; all field numbers here are below 16."""
    length, size = len(data), b""
    while length > 127:
        size += bytes([length & 127 | 128])
        length >>= 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + data


def _message(*fields: tuple[int, bytes | str]) -> bytes:
    return b"".join(_field(number, data.encode() if isinstance(data, str) else data) for number, data in fields)


@cache
def _v2_protobuf() -> bytes:
    """Return a gnostic `Document` (OpenAPIv2.proto) of PATCH operations without schemas.

    Clients that validate by it skip the kinds they do not find; old kubectl learns here that a dry run is possible.
    """
    paths = [(2, _message((1, _template(resource)), (2, _v2_item(resource)))) for resource in RESOURCES]
    return _message((1, "2.0"), (2, _message((1, "Kubernetes"), (2, KUBERNETES_VERSION))), (8, _message(*paths)))


def _v2_item(resource: Resource) -> bytes:
    """Return a `PathItem` with its `patch`: ParametersItem → Parameter → NonBodyParameter → QueryParameterSubSchema."""
    gvk = f"group: {resource.group!r}\nversion: {resource.version}\nkind: {resource.kind}\n"
    extension = _message((1, "x-kubernetes-group-version-kind"), (2, _message((2, gvk))))
    queries = (_message((2, "query"), (4, name)) for name in _PARAMETERS)
    parameters = [(8, _message((1, _message((2, _message((3, query))))))) for query in queries]
    return _message((8, _message(*parameters, (13, extension))))
