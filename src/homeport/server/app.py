"""The server: one function from request to response over a store (api-machinery 1, 5-10)."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Final

from homeport import ids
from homeport.api.autoscaling import to_v1, to_v2
from homeport.api.exchange import Request, Response, User
from homeport.api.resources import BY_GVK, Gvk, Resource, find
from homeport.clock import Clock
from homeport.errors import ApiError, Details, Forbidden, RequestTooLarge, ServiceUnavailable, Timeout
from homeport.server import answers, failures, negotiation, rules
from homeport.server.addressbook import AddressBook
from homeport.server.addresskeeper import AddressKeeper
from homeport.server.admission import Admission
from homeport.server.allocate import Allocator
from homeport.server.authentication import Authentication
from homeport.server.authorization import (
    PUBLIC_PATHS,
    Authorizer,
    KnownUsers,
    authorize,
    authorize_path,
    check,
    refusal,
)
from homeport.server.bootstrap import NETWORKING, Bootstrap
from homeport.server.compression import GZIP_FROM, Compressor
from homeport.server.delete import Deleter
from homeport.server.discovery import Discovery
from homeport.server.escalation import Escalation
from homeport.server.events import from_core, to_core
from homeport.server.expiry import EventExpiry
from homeport.server.feeds import Feeds
from homeport.server.health import Health, page_not_found
from homeport.server.history import History
from homeport.server.hub import Hub
from homeport.server.impersonation import impersonated, may_impersonate
from homeport.server.lists import Lister
from homeport.server.metrics import Metrics
from homeport.server.nodeproxy import NodeProxy
from homeport.server.objects import Codec, Stored
from homeport.server.openapi import OpenApi
from homeport.server.publication import Publication
from homeport.server.rbac import Rbac
from homeport.server.reviews import Reviews
from homeport.server.routing import LONG_RUNNING, Query, Target, classify, deadline, served_prefix, unknown_target
from homeport.server.served import METRIC_NAMES, REVIEW_NAMES, SERVED
from homeport.server.services import Call, Services
from homeport.server.settings import Settings
from homeport.server.storage import Storage
from homeport.server.subresources import Subresources
from homeport.server.tokens import Tokens
from homeport.server.usage import MetricsApi, Summaries, node_summaries
from homeport.server.verbs import Verbs
from homeport.server.watch import Watches
from homeport.server.writes import Writer
from homeport.store.contract import Store

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = ["Server"]

_log = logging.getLogger(__name__)

UNSTORED: Final = REVIEW_NAMES | METRIC_NAMES
_EVENT: Final = Gvk("", "v1", "Event")
_WARNING_TOTAL: Final = 4096
_WARNING_EACH: Final = 256
_NOTHING_KNOWN: Final[Mapping[str, Stored]] = {}


@cache
def _codecs() -> Mapping[str, Codec]:
    return {resource.versioned: _codec(resource) for resource in SERVED}


def _codec(resource: Resource) -> Codec:
    match resource.kind, resource.api_version:
        case "Event", "events.k8s.io/v1":
            return Codec(resource, BY_GVK[_EVENT], to_core, from_core)
        case "HorizontalPodAutoscaler", "autoscaling/v1":
            return Codec(resource, find(resource.kind, resource.group), to_v2, to_v1)
        case _:
            return Codec(resource)


class Server:
    """The API over one store. `async with` starts and ends it; `handle` answers one request.

    token_key  returns the key that signs service account tokens, once one is needed; without, a new one does
    summaries  asks the nodes what they use; by default the node behind `settings.node_socket`
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        rng: random.Random,
        settings: Settings | None = None,
        *,
        static_tokens: Mapping[str, User] | None = None,
        token_key: "Callable[[], EllipticCurvePrivateKey] | None" = None,
        summaries: Summaries | None = None,
    ) -> None:
        settings = settings or Settings()
        codecs = _codecs()
        hub = Hub(store, [codec for codec in codecs.values() if codec.resource.group_resource not in UNSTORED])
        watches = Watches(hub, rng, clock.now, settings.watch_bookmark_seconds)
        services = Services(
            settings,
            clock,
            rng,
            codecs,
            hub,
            Storage(store, hub),
            Lister(store, hub),
            watches,
        )
        rbac = Rbac(services) if settings.authorization == "RBAC" else None
        self._authorizer: Authorizer = rbac or KnownUsers()
        admission = Admission(services, Escalation(rbac) if rbac else None)
        self._service_cache = hub.cache(services.codec(find("Service")))
        addresses = services.codec(find("IPAddress", NETWORKING))
        self._book = AddressBook(hub.cache(services.codec(find("ServiceCIDR", NETWORKING))), hub.cache(addresses), rng)
        self._allocator = Allocator(settings, self._book, rng)
        self._keeper = AddressKeeper(services, addresses, self._book)
        writer = Writer(services, admission, self._allocator, self._keeper)
        deleter = Deleter(services, admission, self._allocator, self._keeper)
        tokens = Tokens(services, token_key)
        self.settings, self._services, self._hub, self._rng = settings, services, hub, rng
        self._verbs = Verbs(services, writer, deleter)
        self._subresources = Subresources(services, self._verbs, writer, deleter, tokens, NodeProxy(services))
        self._authentication = Authentication(static_tokens or {}, tokens, settings.anonymous)
        self._usage = MetricsApi(services, summaries or node_summaries(settings.node_socket))
        self._reviews = Reviews(services, self._authentication, self._authorizer)
        self._bootstrap = Bootstrap(services, writer)
        self._publication = Publication(services, self._bootstrap.publish)
        self._metrics = Metrics(hub, watches, self._book, self._allocator.ports)
        self.feeds = Feeds(hub, services.codec)
        self._compressor = Compressor()
        self.discovery = Discovery(settings.server_address)
        self._others = (
            self.discovery.answer,
            Health(settings.git_version, lambda: self.ready).answer,
            OpenApi(tokens, settings).answer,
            self._metrics.answer,
            History(hub, clock).answer,
        )
        self._by_verb: Mapping[str, Callable[[Call], Awaitable[Response]]] = {
            "get": self._verbs.get,
            "list": self._verbs.list,
            "watch": self._verbs.watch,
            "create": self._verbs.create,
            "update": self._verbs.update,
            "patch": self._verbs.patch,
            "delete": self._verbs.delete,
            "deletecollection": self._verbs.deletecollection,
        }
        event_cache = hub.cache(services.codec(BY_GVK[_EVENT]))
        self._expiry = EventExpiry(event_cache, services.storage, clock)
        self._following: asyncio.Task[None] | None = None
        self._expiring: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._publishing: asyncio.Task[None] | None = None
        self._loaded = False
        self.ready = False

    def states(self) -> Mapping[str, Stored]:
        """Return every stored object by its key, for a server that starts on the same entries."""
        return self._hub.states()

    async def start(self, known: Mapping[str, Stored] = _NOTHING_KNOWN) -> None:
        """Load what is stored, follow the store, create what must be there; then the server is ready.

        known  `states` of another server, whose decoded objects serve here where the entries are the same
        """
        await self._hub.load(known)
        self._loaded = True
        stored = [stored.tree for stored in self._service_cache.entries.values()]
        self._allocator.restore(stored)
        self._book.restore(stored)
        self._service_cache.observers.add(self._book)
        self._following = asyncio.create_task(self._hub.run(), name="api server: follow the store")
        self._following.add_done_callback(self._followed)
        self._expiring = asyncio.create_task(self._expiry.run(), name="api server: expire events")
        await self._keeper.mend()
        self._keeping = asyncio.create_task(self._keeper.run(), name="api server: keep addresses")
        await self._bootstrap.run()
        self._publishing = asyncio.create_task(self._publication.run(), name="api server: publish itself")
        self.ready = True

    async def stop(self) -> None:
        """End every watch, then stop following the store. The store stays open: it is the caller's."""
        self.ready = self._loaded = False
        self._services.watches.close()
        self.feeds.close()
        every = (self._publishing, self._following, self._expiring, self._keeping)
        tasks = [task for task in every if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._following = self._expiring = self._keeping = self._publishing = None

    def _followed(self, task: "asyncio.Task[None]") -> None:
        """The store is no longer followed: on purpose, or no write can be answered any more."""
        self.ready = False
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            _log.critical("the store cannot be followed", exc_info=failure)
        self._hub.fail(ServiceUnavailable("the server is shutting down"))

    async def __aenter__(self) -> "Server":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def handle(self, request: Request) -> Response:
        """Answer one request; failures come as their Status, never as an exception."""
        query: Query = dict(reversed(request.query)) if request.query else {}
        call: Call | None = None
        self._metrics.in_flight += 1
        try:
            if len(request.body) > self.settings.max_body_bytes:
                raise RequestTooLarge(f"Request entity too large: limit is {self.settings.max_body_bytes}")
            if not self._loaded and not request.path.startswith(PUBLIC_PATHS):
                raise ServiceUnavailable("the server is not ready", Details(retry_after_seconds=1))
            user = self._authentication.user(request)
            target = self._classified(request, query, user)
            wanted = impersonated(request.headers)
            if wanted is not None:
                self._check_impersonation(request, target, user, wanted)
                user = wanted
            if target is None:
                response = self._other(request, query, user)
            else:
                authorize(self._authorizer, user, target, query)
                codec = self._services.codec(target.resource)
                watch = target.verb == "watch"
                collection = watch or target.verb in ("list", "deletecollection")
                if target.subresource in LONG_RUNNING:  # the answer is not this server's to shape
                    representation = negotiation.plain(request.headers, query)
                else:
                    representation = negotiation.choose(
                        request.headers, query, collection=collection, watch=watch, shared=request.shared
                    )
                call = Call(request, target, query, user, codec, representation, self._requirement(user, target))
                if text := rules.deprecation(codec.resource.gvk):
                    call.warnings.append(text)
                seconds = deadline(query, target, self.settings)
                if seconds is None:
                    response = await self._dispatch(call)
                else:
                    response = await self._in_time(call, seconds)
        except ApiError as error:
            response = answers.failure(error, negotiation.plain(request.headers, query))
        except asyncio.CancelledError:
            raise
        except Exception:
            _log.exception("%s %s", request.method, request.path)
            fault = failures.internal("see the server's log")
            response = answers.failure(fault, negotiation.plain(request.headers, query))
        finally:
            self._metrics.in_flight -= 1
        return self._finish(request, response, call)

    def _classified(self, request: Request, query: Query, user: User) -> Target | None:
        """Return what a request is aimed at. Who may not even ask is told that, not whether it exists (20.8)."""
        try:
            return classify(request, query)
        except ApiError:
            guess = unknown_target(request, query)
            if guess is not None:
                authorize(self._authorizer, user, guess, query)
            raise

    def _check_impersonation(self, request: Request, target: Target | None, user: User, wanted: User) -> None:
        """Refuse to act for somebody the user may not be. Raises Forbidden."""
        if may_impersonate(self._authorizer, user, wanted, request.headers):
            return
        if target is None:
            raise Forbidden(f'forbidden: User "{user.name}" cannot impersonate user "{wanted.name}"', Details())
        raise refusal(user, target, f"impersonate-on:user-info:{target.verb}", target.name or "")

    def _requirement(self, user: User, target: Target) -> Callable[[str], None]:
        return lambda verb: check(self._authorizer, user, target, verb, target.name or "")

    async def _in_time(self, call: Call, seconds: float) -> Response:
        try:
            async with asyncio.timeout(seconds):
                return await self._dispatch(call)
        except TimeoutError:
            raise Timeout("Timeout: request did not complete within the allotted timeout", Details()) from None

    async def _dispatch(self, call: Call) -> Response:
        target = call.target
        if target.resource.group_resource in REVIEW_NAMES:
            return self._reviews.answer(call)
        if target.resource.group_resource in METRIC_NAMES:
            return await self._usage.answer(call)
        if target.subresource:
            return await self._subresources.handle(call)
        return await self._by_verb[target.verb](call)

    def _other(self, request: Request, query: Query, user: User) -> Response:
        guess = unknown_target(request, query)
        if guess is None:
            authorize_path(self._authorizer, user, request.method, request.path)
        else:
            authorize(self._authorizer, user, guess, query)
        for answer in self._others:
            response = answer(request, query)
            if response is not None:
                return response
        if served_prefix(request.path):
            raise failures.no_such_resource()
        return page_not_found()

    def _finish(self, request: Request, response: Response, call: Call | None) -> Response:
        """Add the headers every answer has (1.7) and compress large bodies (5.9)."""
        headers = response.headers
        self._metrics.count(call.target if call is not None else None, request.method, response.status)
        headers.append(("audit-id", request.headers.get("audit-id") or ids.uid(self._rng)))
        if not any(name == "cache-control" for name, _ in headers):
            headers.append(("cache-control", "no-cache, private"))
        if call is not None and call.warnings:
            headers += _warning_headers(call.warnings)
        if len(response.body) > GZIP_FROM and negotiation.accepts_gzip(request.headers.get("accept-encoding", "")):
            response.body = self._compressor.gzip(response.body)
            headers += [("content-encoding", "gzip"), ("vary", "Accept-Encoding")]
        return response


def _warning_headers(warnings: list[str]) -> list[tuple[str, str]]:
    """Return one header per distinct warning; long ones are cut once the total is too large (8.14)."""
    distinct = list(dict.fromkeys(warnings))
    if sum(map(len, distinct)) > _WARNING_TOTAL:
        distinct = [text[:_WARNING_EACH] for text in distinct]
    escaped = (text.replace("\\", "\\\\").replace('"', '\\"') for text in distinct)
    return [("warning", f'299 - "{text}"') for text in escaped]
