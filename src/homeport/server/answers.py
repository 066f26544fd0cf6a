"""Responses in the shape clients expect."""

from homeport.api.exchange import Response
from homeport.api.resources import Gvk
from homeport.errors import ApiError
from homeport.server.negotiation import Representation
from homeport.server.objects import Codec, Stored, Tree
from homeport.server.representation import finish, object_bytes, stored_bytes

__all__ = ["body", "failure", "shown", "success", "text", "tree"]

_JSON = ("content-type", "application/json")
_YAML = ("content-type", "application/yaml")


def body(content: bytes, representation: Representation, status: int = 200) -> Response:
    return Response(status, [_YAML if representation.yaml else _JSON], content)


def shown(codec: Codec, stored: Stored, representation: Representation, now: float, status: int = 200) -> Response:
    """Answer with a stored object."""
    if representation.shared:
        return Response(status, [_JSON], document=codec.tree(stored))
    return body(stored_bytes(codec, stored, representation, now), representation, status)


def tree(obj: Tree, gvk: Gvk, representation: Representation, now: float, status: int = 200) -> Response:
    """Answer with an object that is not in the store."""
    if representation.shared:
        return Response(status, [_JSON], document=obj)
    return body(object_bytes(obj, gvk, representation, now), representation, status)


def success(
    representation: Representation, *, name: str, group: str, kind: str, uid: str = "", status: int = 200
) -> Response:
    """Answer with a Status of success (6.6)."""
    named = (("name", name), ("group", group), ("kind", kind), ("uid", uid))
    document: Tree = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: value for key, value in named if value},
    }
    if status != 200:
        document["code"] = status
    return _document(document, representation, status)


def failure(error: ApiError, representation: Representation) -> Response:
    """Answer with the Status an error stands for."""
    response = _document(error.as_status(), representation, error.status_code)
    if error.details is not None and error.details.retry_after_seconds:
        response.headers.append(("retry-after", str(error.details.retry_after_seconds)))
    if error.status_code == 403:
        response.headers.append(("x-content-type-options", "nosniff"))
    return response


def _document(document: Tree, representation: Representation, status: int) -> Response:
    plain = Representation(yaml=representation.yaml, pretty=representation.pretty)
    return body(finish(document, plain) + (b"" if plain.yaml else b"\n"), plain, status)


def text(content: str, status: int = 200) -> Response:
    return Response(status, [("content-type", "text/plain; charset=utf-8")], content.encode())
