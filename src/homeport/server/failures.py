"""The messages clients match on, each written once (api-machinery 6.2)."""

from collections.abc import Sequence

from homeport.api.resources import Gvk, Resource
from homeport.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Cause,
    Conflict,
    Details,
    Expired,
    Forbidden,
    InternalError,
    Invalid,
    MethodNotAllowed,
    NotFound,
    Timeout,
)

__all__ = [
    "already_exists",
    "bad_version",
    "conflict",
    "expired_list",
    "forbidden",
    "internal",
    "invalid",
    "invalid_options",
    "method_not_allowed",
    "modified",
    "namespace_mismatch",
    "no_such_resource",
    "not_found",
    "precondition",
    "storage_conflict",
    "version_too_large",
]


def about(resource: Resource, name: str = "") -> Details:
    return Details(name=name, group=resource.group, kind=resource.plural)


def not_found(resource: Resource, name: str) -> NotFound:
    return NotFound(f'{resource.group_resource} "{name}" not found', about(resource, name))


def no_such_resource() -> NotFound:
    return NotFound("the server could not find the requested resource", Details())


def already_exists(resource: Resource, name: str, *, terminating: bool = False) -> AlreadyExists:
    prefix = "object is being deleted: " if terminating else ""
    return AlreadyExists(f'{prefix}{resource.group_resource} "{name}" already exists', about(resource, name))


def conflict(resource: Resource, name: str, why: str) -> Conflict:
    return Conflict(
        f'Operation cannot be fulfilled on {resource.group_resource} "{name}": {why}', about(resource, name)
    )


def modified(resource: Resource, name: str) -> Conflict:
    """Somebody wrote in between."""
    return conflict(
        resource, name, "the object has been modified; please apply your changes to the latest version and try again"
    )


def precondition(gvk: Gvk, name: str, why: str) -> Conflict:
    """A delete's precondition failed: named by Kind, unlike every other conflict."""
    kind = f"{gvk.kind}.{gvk.group}" if gvk.group else gvk.kind
    return Conflict(
        f'Operation cannot be fulfilled on {kind} "{name}": {why}', Details(name=name, group=gvk.group, kind=gvk.kind)
    )


def forbidden(resource: Resource, name: str, why: str, causes: Sequence[Cause] = ()) -> Forbidden:
    quoted = f' "{name}"' if name else ""
    return Forbidden(
        f"{resource.group_resource}{quoted} is forbidden: {why}",
        Details(name=name, group=resource.group, kind=resource.plural, causes=causes),
    )


def method_not_allowed() -> MethodNotAllowed:
    return MethodNotAllowed("the server does not allow this method on the requested resource", Details())


def internal(why: str) -> InternalError:
    return InternalError(f"Internal error occurred: {why}", Details(causes=(Cause("", why),)))


def plain(why: str) -> ApiError:
    """A 500 without a reason: what upstream answers where its code returns an error that is no status."""
    return ApiError(why)


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> Invalid:
    """Return the 422 for field errors; duplicates are told once in the message, kept in the causes."""
    texts = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    joined = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    qualified = f"{kind}.{group}" if group else kind
    return Invalid(
        f'{qualified} "{name}" is invalid: {joined}', Details(name=name, group=group, kind=kind, causes=tuple(causes))
    )


def invalid_options(kind: str, *causes: Cause) -> Invalid:
    """Refuse `ListOptions`, `DeleteOptions` and their like (api-machinery 6.5)."""
    return invalid(kind, "meta.k8s.io", "", causes)


def storage_conflict(resource: Resource, name: str, namespace: str | None, sent: str, stored: str) -> Conflict:
    """A uid in the body that is not the object's, told as upstream's storage tells it."""
    key = "/".join(part for part in ("/registry", resource.plural, namespace, name) if part)
    return conflict(
        resource,
        name,
        f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
        f"Precondition failed: UID in precondition: {sent}, UID in object meta: {stored}",
    )


def expired_list() -> Expired:
    return Expired("The resourceVersion for the provided list is too old.")


def version_too_large(asked: int, current: int) -> Timeout:
    return Timeout(
        f"Timeout: Too large resource version: {asked}, current: {current}",
        Details(
            causes=(Cause("ResourceVersionTooLarge", "Too large resource version"),),
            retry_after_seconds=1,
        ),
    )


def bad_version(field: str, value: str) -> ApiError:
    """An unparsable resourceVersion: a 500 without reason, as upstream answers it."""
    return ApiError(f'{field}: Invalid value: "{value}": strconv.ParseUint: parsing "{value}": invalid syntax')


def namespace_mismatch() -> BadRequest:
    return BadRequest("the namespace of the provided object does not match the namespace sent on the request")
