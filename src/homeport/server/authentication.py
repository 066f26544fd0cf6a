"""Who asks (api-machinery 20.1): what the transport knows already, bearer tokens, nobody."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Final

from homeport.api.exchange import Request, User
from homeport.errors import Unauthorized
from homeport.server.tokens import Tokens

__all__ = ["ANONYMOUS", "AUTHENTICATED", "Authentication", "read_token_file", "signed_in"]

AUTHENTICATED: Final = "system:authenticated"
ANONYMOUS: Final = User("system:anonymous", groups=("system:unauthenticated",))


def signed_in(user: User) -> User:
    """Return the user as a member of everyone who is known."""
    if AUTHENTICATED in user.groups or "system:unauthenticated" in user.groups:
        return user
    return User(user.name, user.uid, (*user.groups, AUTHENTICATED), user.extra)


def read_token_file(text: str) -> Mapping[str, User]:
    """Return users by token from lines of `token,user,uid,"group1,group2"`. Raises ValueError."""
    users = {}
    for number, row in enumerate(csv.reader(io.StringIO(text)), start=1):
        if not row or row[0].startswith("#"):
            continue
        if len(row) < 3:
            raise ValueError(f"token file line {number}: expected at least 3 columns (token, user name, user uid)")
        groups = tuple(group.strip() for group in row[3].split(",")) if len(row) > 3 and row[3] else ()
        users[row[0].strip()] = signed_in(User(row[1].strip(), row[2].strip(), groups))
    return users


class Authentication:
    """Tries each way to know the caller; a bad credential is refused, none at all is anonymous."""

    def __init__(self, static: Mapping[str, User], tokens: Tokens, anonymous: bool) -> None:
        self._static, self._tokens, self._anonymous = static, tokens, anonymous

    def user(self, request: Request) -> User:
        """Return who asks. Raises Unauthorized."""
        if request.user is not None:
            return signed_in(request.user)
        header = request.headers.get("authorization", "")
        if not header:
            if self._anonymous:
                return ANONYMOUS
            raise Unauthorized("Unauthorized")
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthorized("Unauthorized")
        return self.bearer(token.strip())

    def bearer(self, token: str, audiences: Sequence[str] = ()) -> User:
        """Return whom a bearer token stands for, before certain audiences or the server itself. Raises Unauthorized."""
        found = self._static.get(token) or self._tokens.user(token, audiences)
        if found is None:
            raise Unauthorized("Unauthorized")
        return found
