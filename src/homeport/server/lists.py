"""Lists: a consistent snapshot, in key order, whole or in pages (api-machinery 9)."""

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from homeport.errors import BadRequest, Expired
from homeport.server import failures
from homeport.server.hub import Hub
from homeport.server.negotiation import Form, Representation
from homeport.server.objects import Codec, Stored, Tree
from homeport.server.options import ListOptions
from homeport.server.representation import list_bytes, list_frame
from homeport.server.selection import Selection, parse
from homeport.store.contract import Compacted, Revision, Store

__all__ = ["Lister", "Page", "selection_for"]

FUTURE_SECONDS: Final = 3.0
_EXPIRED_TOKEN: Final = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


class ExpiredToken(Expired):
    """The snapshot behind a continue token is gone; the Status offers a token for the newest state."""

    def __init__(self, token: str) -> None:
        super().__init__(_EXPIRED_TOKEN)
        self.token = token

    def as_status(self) -> Tree:
        return {**super().as_status(), "metadata": {"continue": self.token}}


@dataclass(frozen=True, slots=True)
class Page:
    """What a list found: objects, the snapshot's revision, and where the next page starts."""

    items: Sequence[Stored]
    revision: int
    token: str = ""
    remaining: int | None = None

    def metadata(self) -> Tree:
        found: Tree = {"resourceVersion": str(self.revision)}
        if self.token:
            found["continue"] = self.token
        if self.remaining is not None:
            found["remainingItemCount"] = self.remaining
        return found


def selection_for(codec: Codec, options: ListOptions) -> Selection:
    return parse(codec.resource, options.label_selector, options.field_selector)


class Lister:
    """Finds and encodes collections. Present states come from the cache, past ones from the store's history."""

    def __init__(self, store: Store, hub: Hub) -> None:
        self._store, self._hub = store, hub

    async def answer(
        self, codec: Codec, namespace: str | None, options: ListOptions, representation: Representation, now: float
    ) -> bytes:
        """Return the list's document."""
        plain = representation.form is Form.PLAIN and not representation.yaml and not representation.pretty
        if plain and not options.limit and not options.token and options.version_text in ("", "0"):
            selection = selection_for(codec, options)
            if selection.everything:
                return self._whole(codec, namespace)
        page = await self.find(codec, namespace, options)
        return list_bytes(codec, page.items, page.metadata(), representation, now)

    def _whole(self, codec: Codec, namespace: str | None) -> bytes:
        """A whole collection as it is now: joined once per change of the resource, framed once per revision."""
        cache, prefix, group = self._hub.cache(codec), codec.scope(namespace), codec.resource.group
        revision = self._hub.revision
        framed = cache.memoised(prefix, (group, "whole"), lambda: (0, b""))
        if framed[0] != revision:
            joined = cache.memoised(
                prefix, (group, "items"), lambda: b",".join([codec.item(stored) for stored in cache.scan(prefix)])
            )
            framed = (revision, list_frame(codec, {"resourceVersion": str(revision)}, joined))
            cache.remember(prefix, (group, "whole"), framed)
        return framed[1]

    async def find(self, codec: Codec, namespace: str | None, options: ListOptions) -> Page:
        """Return the page asked for. Raises BadRequest, Expired, Timeout (9.4, 9.5)."""
        selection = selection_for(codec, options)
        prefix = codec.scope(namespace)
        start, at = "", None
        limit = options.limit
        if options.token:
            if options.version_text not in ("", "0"):
                raise BadRequest("specifying resource version is not allowed when using continue")
            at, start = _decode_token(options.token, prefix)
        elif options.version_text not in ("", "0"):
            at = await self._version(options)
        if options.version_text == "0":
            limit = 0
        revision = self._hub.revision
        if at is not None and at != revision:
            revision = at
            found: Iterable[Stored] = await self._past(prefix, start, at, options.token)
        else:
            found = self._hub.cache(codec).scan(prefix, start)
        return _page(codec, found, selection, limit, revision, prefix)

    async def _version(self, options: ListOptions) -> int | None:
        """Return the exact revision to list at, or None where the newest state will do. Waits for future ones."""
        text = options.version_text
        if not text.isascii() or not text.isdigit():
            raise BadRequest(f"invalid resource version: {failures.bad_version('resourceVersion', text)}")
        asked = int(text)
        if not await self._hub.at_least(asked, FUTURE_SECONDS):
            raise failures.version_too_large(asked, self._hub.revision)
        exact = options.match == "Exact" or (not options.match and options.limit > 0)
        return asked if exact else None

    async def _past(self, prefix: str, start: str, at: int, token: str) -> list[Stored]:
        try:
            listing = await self._store.list(prefix, start=start, at=Revision(at))
        except Compacted as error:
            if not token:
                raise failures.expired_list() from error
            raise ExpiredToken(_encode_token(-1, start, prefix)) from error
        return [Stored(entry.key, entry.value, entry.revision) for entry in listing.entries]


def _page(codec: Codec, found: Iterable[Stored], selection: Selection, limit: int, revision: int, prefix: str) -> Page:
    if selection.everything:
        items = list(found)
    else:
        items = [stored for stored in found if selection.matches(codec.tree(stored))]
    if not limit or len(items) <= limit:
        return Page(items, revision)
    kept = items[:limit]
    remaining = len(items) - limit if selection.everything else None
    return Page(kept, revision, _encode_token(revision, kept[-1].key + "\0", prefix), remaining)


def _encode_token(revision: int, start: str, prefix: str) -> str:
    body = json.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": start[len(prefix) :]}, separators=(",", ":"))
    return base64.urlsafe_b64encode(body.encode()).decode().rstrip("=")


def _decode_token(token: str, prefix: str) -> tuple[int | None, str]:
    """Return the revision (None: the newest) and the first key of a page."""
    try:
        raw = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        version, revision, start = raw["v"], raw["rv"], raw["start"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadRequest(f"invalid continue token: {error}") from error
    if version != "meta.k8s.io/v1" or not isinstance(revision, int) or not isinstance(start, str) or not start:
        raise BadRequest("invalid continue token: incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
    return (revision if revision > 0 else None), prefix + start
