"""What an answer of the server means to a controller."""

from homeport.errors import ApiError

__all__ = ["namespace_is_terminating"]


def namespace_is_terminating(error: Exception) -> bool:
    """Whether a create was refused because its namespace is going away: no error, and nothing to retry."""
    causes = error.details.causes if isinstance(error, ApiError) and error.details else ()
    return any(cause.reason == "NamespaceTerminating" for cause in causes)
