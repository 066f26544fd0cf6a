"""Failures a client is meant to see, each with its HTTP status and the word clients switch on.

Source: Kubernetes API conventions, "Response Status Kind". `details.kind` holds the plural resource for
resource errors and the Kind for `Invalid`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = [
    "AlreadyExists",
    "ApiError",
    "BadRequest",
    "Cause",
    "Conflict",
    "Details",
    "Expired",
    "Forbidden",
    "InternalError",
    "Invalid",
    "MethodNotAllowed",
    "NotAcceptable",
    "NotFound",
    "RequestTooLarge",
    "ServerTimeout",
    "ServiceUnavailable",
    "Timeout",
    "TooManyRequests",
    "Unauthorized",
    "UnsupportedMediaType",
    "error_from_status",
]


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason inside a Status: `reason` is a cause type such as `FieldValueRequired`, `field` a path."""

    reason: str
    message: str
    field: str = ""

    def as_json(self) -> dict[str, str]:
        pairs = (("reason", self.reason), ("message", self.message), ("field", self.field))
        return {name: value for name, value in pairs if value}


@dataclass(frozen=True, slots=True)
class Details:
    """What a Status is about; empty fields are left out on the wire."""

    name: str = ""
    group: str = ""
    kind: str = ""
    uid: str = ""
    causes: Sequence[Cause] = ()
    retry_after_seconds: int = 0

    def as_json(self) -> dict[str, Any]:
        named = (("name", self.name), ("group", self.group), ("kind", self.kind), ("uid", self.uid))
        out: dict[str, Any] = {key: value for key, value in named if value}
        if self.causes:
            out["causes"] = [cause.as_json() for cause in self.causes]
        if self.retry_after_seconds:
            out["retryAfterSeconds"] = self.retry_after_seconds
        return out


class ApiError(Exception):
    """A failure the client is meant to see, sent as a Kubernetes `Status`.

    message   the Status message, complete.
    details   what it is about, or None for a Status without `details`.
    """

    code: ClassVar[int] = 500
    reason: ClassVar[str] = ""

    def __init__(self, message: str, details: Details | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    @property
    def status_code(self) -> int:
        return self.code

    @property
    def status_reason(self) -> str:
        return self.reason

    def as_status(self) -> dict[str, Any]:
        """Return the `Status` object, keys in the order upstream writes them."""
        out: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.status_reason:
            out["reason"] = self.status_reason
        if self.details is not None:
            out["details"] = self.details.as_json()
        out["code"] = self.status_code
        return out


class BadRequest(ApiError):
    """The request cannot be understood; sending it again will not help."""

    code, reason = 400, "BadRequest"


class Unauthorized(ApiError):
    """No credential, or one that is not accepted."""

    code, reason = 401, "Unauthorized"


class Forbidden(ApiError):
    """Known, and not allowed."""

    code, reason = 403, "Forbidden"


class NotFound(ApiError):
    """Nothing by that name, or no such resource."""

    code, reason = 404, "NotFound"


class MethodNotAllowed(ApiError):
    """The resource exists and does not answer to this verb."""

    code, reason = 405, "MethodNotAllowed"


class NotAcceptable(ApiError):
    """No representation the client accepts."""

    code, reason = 406, "NotAcceptable"


class AlreadyExists(ApiError):
    """The name is taken; with `retry_after_seconds`, a generated one was."""

    code, reason = 409, "AlreadyExists"


class Conflict(ApiError):
    """Somebody wrote in between: read again, decide again."""

    code, reason = 409, "Conflict"


class Expired(ApiError):
    """The revision asked for is compacted away. List again, then watch."""

    code, reason = 410, "Expired"


class RequestTooLarge(ApiError):
    """The body exceeds the limit."""

    code, reason = 413, "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    """The body is in a format this resource does not read."""

    code, reason = 415, "UnsupportedMediaType"


class Invalid(ApiError):
    """Well formed and against the rules; `details.causes` has one entry per field."""

    code, reason = 422, "Invalid"


class TooManyRequests(ApiError):
    """Come back after `details.retry_after_seconds`."""

    code, reason = 429, "TooManyRequests"


class InternalError(ApiError):
    """A fault on the server's side."""

    code, reason = 500, "InternalError"


class ServerTimeout(ApiError):
    """Not completed; the same request may succeed later."""

    code, reason = 500, "ServerTimeout"


class ServiceUnavailable(ApiError):
    """Not serving now: starting, stopping, or a backend is away."""

    code, reason = 503, "ServiceUnavailable"


class Timeout(ApiError):
    """The deadline passed; a write may or may not have happened."""

    code, reason = 504, "Timeout"


_BY_REASON: Mapping[str, type[ApiError]] = {
    kind.reason: kind
    for kind in (
        BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, NotAcceptable, AlreadyExists, Conflict,
        Expired, RequestTooLarge, UnsupportedMediaType, Invalid, TooManyRequests, InternalError, ServerTimeout,
        ServiceUnavailable, Timeout,
    )
}  # fmt: skip

_BY_CODE: Mapping[int, type[ApiError]] = {
    400: BadRequest, 401: Unauthorized, 403: Forbidden, 404: NotFound, 405: MethodNotAllowed, 406: NotAcceptable,
    409: Conflict, 410: Expired, 413: RequestTooLarge, 415: UnsupportedMediaType, 422: Invalid,
    429: TooManyRequests, 503: ServiceUnavailable, 504: Timeout,
}  # fmt: skip


def error_from_status(code: int, status: Mapping[str, Any]) -> ApiError:
    """Return the error a `Status` document stands for: by `reason` first, then by HTTP code, as client-go does."""
    kind = _BY_REASON.get(status.get("reason", "")) or _BY_CODE.get(code, InternalError if code >= 500 else BadRequest)
    raw = status.get("details")
    details = None
    if isinstance(raw, Mapping):
        details = Details(
            name=raw.get("name", ""),
            group=raw.get("group", ""),
            kind=raw.get("kind", ""),
            uid=raw.get("uid", ""),
            causes=tuple(
                Cause(c.get("reason", ""), c.get("message", ""), c.get("field", "")) for c in raw.get("causes") or ()
            ),
            retry_after_seconds=raw.get("retryAfterSeconds", 0),
        )
    return kind(status.get("message", f"HTTP {code}"), details)
