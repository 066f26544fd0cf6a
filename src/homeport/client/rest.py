"""The verbs over one transport: paths, bodies, errors, and watch streams decoded as they arrive."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Final

import msgspec

from homeport.api.exchange import Request, Response
from homeport.api.resources import Resource
from homeport.client.contract import Listing, Object, PatchType, Transport, WatchEvent
from homeport.clock import micro_time
from homeport.errors import ApiError, error_from_status

__all__ = ["RestClient", "collection_path", "object_path", "warnings"]

_JSON: Final = "application/json"
_WARNING: Final = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')
_decode: Final = msgspec.json.Decoder().decode
_decode_lines: Final = msgspec.json.Decoder().decode_lines
_encode: Final = msgspec.json.Encoder().encode


def collection_path(resource: Resource, namespace: str | None) -> str:
    """Return the path of a collection; without a namespace, of all of them."""
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    if resource.namespaced and namespace:
        return f"{root}/namespaces/{namespace}/{resource.plural}"
    return f"{root}/{resource.plural}"


def object_path(resource: Resource, namespace: str | None, name: str, subresource: str = "") -> str:
    """Return the path of one object or of something below it. Raises ValueError where a namespace is missing."""
    if resource.namespaced and not namespace:
        raise ValueError(f"{resource.plural} {name!r} lives in a namespace, and none was given")
    path = f"{collection_path(resource, namespace)}/{name}"
    return f"{path}/{subresource}" if subresource else path


def warnings(headers: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield the texts of Warning headers with code 299, as Kubernetes gives them (RFC 7234 §5.5)."""
    for name, value in headers:
        if name.lower() == "warning":
            for quoted in _WARNING.findall(value):
                yield re.sub(r"\\(.)", r"\1", quoted)


class RestClient:
    """`contract.Client` over any transport. Decoded objects are shared with whoever else holds them: never change one.

    user_agent        such as "statefulset-controller/0.1"; the server takes the part before "/" as field manager
    field_validation  what to do about unknown or repeated fields in writes: Strict, Warn or Ignore; empty leaves it to
                      the server
    on_warning        called with each warning the server gives
    """

    def __init__(
        self,
        transport: Transport,
        user_agent: str,
        *,
        field_validation: str = "",
        on_warning: Callable[[str], None] | None = None,
    ) -> None:
        self.transport = transport
        self.user_agent = user_agent
        self._validation = _query(fieldValidation=field_validation)
        self._on_warning = on_warning
        self._read_headers = {"accept": _JSON, "user-agent": user_agent}

    async def get(self, resource: Resource, namespace: str | None, name: str, *, subresource: str = "") -> Object:
        return await self._object("GET", object_path(resource, namespace, name, subresource))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
    ) -> Listing:
        query = _query(
            labelSelector=label_selector,
            fieldSelector=field_selector,
            limit=str(limit) if limit else "",
            resourceVersion=resource_version,
            **{"continue": continue_token},
        )
        document = await self._object("GET", collection_path(resource, namespace), query)
        metadata = document["metadata"]
        return Listing(
            [_typed(resource, item) for item in document["items"] or ()],
            metadata.get("resourceVersion", ""),
            metadata.get("continue", ""),
        )

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        initial_events: bool = False,
        timeout_seconds: int | None = None,
    ) -> "WatchStream":
        query = _query(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=resource_version,
            labelSelector=label_selector,
            fieldSelector=field_selector,
            sendInitialEvents="true" if initial_events else "",
            resourceVersionMatch="NotOlderThan" if initial_events else "",
            timeoutSeconds="" if timeout_seconds is None else str(timeout_seconds),
        )
        path = collection_path(resource, namespace)
        return WatchStream(self.transport, Request("GET", path, query, self._read_headers))

    async def create(
        self, resource: Resource, body: Object, namespace: str | None = None, *, subresource: str = "", name: str = ""
    ) -> Object:
        metadata = body.get("metadata") or {}
        namespace = namespace or metadata.get("namespace")
        if subresource:
            path = object_path(resource, namespace, name or metadata.get("name", ""), subresource)
        elif resource.namespaced and not namespace:
            raise ValueError(f"{resource.plural} live in a namespace, and none was given")
        else:
            path = collection_path(resource, namespace)
        return await self._object("POST", path, self._validation, body=body)

    async def update(self, resource: Resource, body: Object, *, subresource: str = "") -> Object:
        metadata = body["metadata"]
        path = object_path(resource, metadata.get("namespace"), metadata["name"], subresource)
        return await self._object("PUT", path, self._validation, body=body)

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        patch: Any,
        *,
        kind: PatchType = PatchType.MERGE,
        subresource: str = "",
    ) -> Object:
        query: tuple[tuple[str, str], ...] = ()
        if kind is PatchType.APPLY:
            query = _query(fieldManager=self.user_agent.partition("/")[0], force="true")
        path = object_path(resource, namespace, name, subresource)
        return await self._object("PATCH", path, query + self._validation, body=patch, content_type=kind.value)

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str = "",
        resource_version: str = "",
        grace_seconds: int | None = None,
        propagation: str = "",
    ) -> Object:
        options: dict[str, Any] = {}
        preconditions = {key: text for key, text in (("uid", uid), ("resourceVersion", resource_version)) if text}
        if preconditions:
            options["preconditions"] = preconditions
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if propagation:
            options["propagationPolicy"] = propagation
        body = {"kind": "DeleteOptions", "apiVersion": "v1", **options} if options else None
        return await self._object("DELETE", object_path(resource, namespace, name), body=body)

    async def history(self, namespace: str, after: float, *, first: bool = False) -> Object:
        """Return what the server remembers of changes after a moment, in epoch seconds, of kinds that explain things.

        `knownSince` is the moment from which on it knows all, `changes` are, oldest first: kind, name, revision, time,
        old, new; of each object its first one alone when `first`. This engine's own; other servers answer NotFound.
        """
        query = [("namespace", namespace), ("after", micro_time(after))]
        if first:
            query.append(("first", "true"))
        return await self._object("GET", "/homeport/history", tuple(query))

    async def _object(
        self,
        method: str,
        path: str,
        query: tuple[tuple[str, str], ...] = (),
        *,
        body: Any = None,
        content_type: str = _JSON,
    ) -> Object:
        if body is None:
            request = Request(method, path, query, self._read_headers)
        else:
            headers = {**self._read_headers, "content-type": content_type}
            request = Request(method, path, query, headers, _encode(body))
        response = await self.transport.send(request)
        if self._on_warning is not None:
            for text in warnings(response.headers):
                self._on_warning(text)
        if response.status >= 400:
            raise _error(response)
        if response.document is not None:
            shared: Object = response.document
            return shared
        decoded: Object = _decode(response.body)
        return decoded


class WatchStream:
    """One watch: enter it, iterate it, leave it; leaving ends it on the server too.

    Iteration stops when the server ends the stream, and raises the ApiError of an ERROR event, or OSError when the
    connection breaks.
    """

    def __init__(self, transport: Transport, request: Request) -> None:
        self._transport, self._request = transport, request
        self._response: Response | None = None
        self._iteration: AsyncGenerator[WatchEvent, None] | None = None

    async def __aenter__(self) -> AsyncIterator[WatchEvent]:
        response = await self._transport.send(self._request)
        if response.status >= 400:
            raise _error(response)
        self._response = response
        self._iteration = self._events(response)
        return self._iteration

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._response is None or self._iteration is None:
            return
        await self._iteration.aclose()
        source = self._response.documents or self._response.stream
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()

    @staticmethod
    async def _events(response: Response) -> AsyncGenerator[WatchEvent, None]:
        async with aclosing(_batches(response)) as batches:
            async for batch in batches:
                for document in batch:
                    kind, body = document["type"], document["object"]
                    if kind == "ERROR":
                        raise error_from_status(body.get("code", 500), body)
                    yield WatchEvent(kind, body)


async def _batches(response: Response) -> AsyncGenerator[Sequence[Any], None]:
    """Yield decoded events as they come, whole lines only: a chunk may end inside one."""
    if response.documents is not None:
        async for batch in response.documents:
            yield batch
        return
    if response.stream is None:
        yield _decode_lines(response.body)
        return
    rest = b""
    async for chunk in response.stream:
        end = chunk.rfind(b"\n") + 1
        if not end:
            rest += chunk
            continue
        yield _decode_lines(rest + chunk[:end] if rest else chunk[:end])
        rest = chunk[end:]
    if rest.strip():
        yield [_decode(rest)]


def _typed(resource: Resource, item: Mapping[str, Any]) -> Object:
    if "kind" in item and "apiVersion" in item:
        return item
    return {"kind": resource.kind, "apiVersion": resource.api_version, **item}


def _query(**parameters: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in parameters.items() if value)


def _error(response: Response) -> ApiError:
    status = response.document
    if status is None:
        try:
            status = _decode(response.body)
        except msgspec.DecodeError:
            status = {"message": response.body.decode("utf-8", "replace") or f"HTTP {response.status}"}
    return error_from_status(response.status, status if isinstance(status, Mapping) else {})
