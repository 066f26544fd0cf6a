"""Service-account tokens: issuing, and knowing one's own again (api-machinery 18.6, 20.2, 20.3).

JSON Web Tokens signed with ES256; the key is made once per cluster. Verified tokens are remembered until they expire.
"""

import base64
import random
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import msgspec

from homeport import ids
from homeport.api.exchange import User
from homeport.api.resources import find
from homeport.clock import Clock, rfc3339
from homeport.errors import BadRequest, Cause, Unauthorized
from homeport.server import failures
from homeport.server.objects import Tree
from homeport.server.services import Services

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = ["Tokens"]

_LEAST_SECONDS: Final = 600
_MOST_SECONDS: Final = 1 << 32
_PROJECTED_SECONDS: Final = 3607
_STRETCHED_SECONDS: Final = 365 * 24 * 3600
_REMEMBERED: Final = 4096


def _new_key() -> "EllipticCurvePrivateKey":
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Tokens:
    """Issues tokens of one issuer and tells whom one stands for."""

    def __init__(self, services: Services, key: "Callable[[], EllipticCurvePrivateKey] | None") -> None:
        self._services = services
        self._made_key = key or _new_key
        self._issuer = services.settings.issuer
        self._accounts = services.codec(find("ServiceAccount"))
        self._bound = {kind: services.codec(find(kind)) for kind in ("Pod", "Secret", "Node")}
        self._known: dict[str, tuple[float, Tree]] = {}

    @property
    def _clock(self) -> Clock:
        return self._services.clock

    @property
    def _rng(self) -> random.Random:
        return self._services.rng

    @cached_property
    def _key(self) -> "EllipticCurvePrivateKey":
        return self._made_key()

    def jwks(self) -> Tree:
        """Return the key set that verifies this issuer's tokens."""
        numbers = self._key.public_key().public_numbers()
        x, y = (_encoded(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
        key = {"use": "sig", "kty": "EC", "kid": self._key_id, "crv": "P-256", "alg": "ES256", "x": x, "y": y}
        return {"keys": [key]}

    @cached_property
    def _key_id(self) -> str:
        from hashlib import sha256

        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        public = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return _encoded(sha256(public).digest())

    @cached_property
    def _head(self) -> str:
        """The part that is the same for every token."""
        return _encoded(msgspec.json.encode({"alg": "ES256", "kid": self._key_id}))

    def issue(self, account: Tree, request: Tree, warnings: list[str]) -> Tree:
        """Return a TokenRequest with its status. Raises Invalid, BadRequest, NotFound, Conflict."""
        metadata, spec = account["metadata"], request["spec"]
        namespace, name = metadata["namespace"], metadata["name"]
        seconds = int(spec.get("expirationSeconds") or 3600)
        _check_seconds(seconds)
        audiences = list(spec.get("audiences") or ()) or [self._issuer]
        now = int(self._clock.now())
        claims: Tree = {"namespace": namespace, "serviceaccount": {"name": name, "uid": metadata["uid"]}}
        if reference := spec.get("boundObjectRef"):
            claims |= self._bind(reference, namespace, name)
        lifetime = seconds
        if seconds == _PROJECTED_SECONDS and "pod" in claims and audiences == [self._issuer]:
            lifetime = _STRETCHED_SECONDS
            claims["warnafter"] = now + seconds
        token = self._sign(
            {
                "aud": audiences,
                "exp": now + lifetime,
                "iat": now,
                "iss": self._issuer,
                "jti": ids.uid(self._rng),
                "kubernetes.io": claims,
                "nbf": now,
                "sub": f"system:serviceaccount:{namespace}:{name}",
            }
        )
        shown = {**request["metadata"], "name": name, "namespace": namespace, "uid": metadata["uid"]}
        shown["creationTimestamp"] = rfc3339(now)
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": shown,
            "spec": {**spec, "audiences": audiences, "expirationSeconds": seconds},
            "status": {"token": token, "expirationTimestamp": rfc3339(now + seconds)},
        }

    def _bind(self, reference: Mapping[str, Any], namespace: str, account: str) -> Tree:
        kind, name, uid = reference.get("kind", ""), reference.get("name", ""), reference.get("uid", "")
        codec = self._bound.get(kind)
        if codec is None:
            group, _, version = reference.get("apiVersion", "").rpartition("/")
            raise BadRequest(f"cannot bind token to object of type {group}/{version}, Kind={kind}")
        found = self._services.storage.get(codec, namespace, name).tree
        if uid and uid != found["metadata"]["uid"]:
            raise failures.conflict(
                codec.resource,
                name,
                f"the UID in the bound object reference ({uid}) does not match the UID in record. The object might "
                "have been deleted and then recreated",
            )
        claims = {kind.lower(): {"name": name, "uid": found["metadata"]["uid"]}}
        if kind == "Pod":
            if found["spec"].get("serviceAccountName", "default") != account:
                raise BadRequest(
                    f'cannot bind token for serviceaccount "{account}" to pod running with different serviceaccount '
                    "name."
                )
            node = found["spec"].get("nodeName")
            if node and (stored := self._services.storage.find(self._bound["Node"], None, node)):
                claims["node"] = {"name": node, "uid": stored.tree["metadata"]["uid"]}
        return claims

    def _sign(self, claims: Mapping[str, Any]) -> str:
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
        from cryptography.hazmat.primitives.hashes import SHA256

        signed = f"{self._head}.{_encoded(msgspec.json.encode(claims))}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(SHA256())))
        return f"{signed}.{_encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def user(self, token: str, audiences: Sequence[str] = ()) -> User | None:
        """Return whom a token of this issuer stands for, or None if it is not one. Raises Unauthorized."""
        known = self._known.get(token)
        if known is None:
            claims = self._verified(token)
            if claims is None:
                return None
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[token] = (float(claims["exp"]), claims)
        expires, claims = known
        now = self._clock.now()
        if now >= expires or now < claims.get("nbf", 0):
            raise Unauthorized("Unauthorized")
        accepted = set(audiences) or {self._issuer}
        if accepted.isdisjoint(claims.get("aud") or ()):
            raise Unauthorized("Unauthorized")
        return self._subject(claims)

    def _verified(self, token: str) -> Tree | None:
        parts = token.split(".")
        if len(parts) != 3:
            return None
        try:
            header = msgspec.json.decode(_decoded(parts[0]))
            claims: Tree = msgspec.json.decode(_decoded(parts[1]))
            signature = _decoded(parts[2])
        except (ValueError, msgspec.DecodeError):
            return None
        if not isinstance(claims, dict) or claims.get("iss") != self._issuer:
            return None
        if not isinstance(header, dict) or header.get("alg") != "ES256" or len(signature) != 64:
            raise Unauthorized("Unauthorized")
        self._check_signature(f"{parts[0]}.{parts[1]}".encode(), signature)
        return claims

    def _check_signature(self, signed: bytes, signature: bytes) -> None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
        from cryptography.hazmat.primitives.hashes import SHA256

        der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
        try:
            self._key.public_key().verify(der, signed, ec.ECDSA(SHA256()))
        except InvalidSignature:
            raise Unauthorized("Unauthorized") from None

    def _subject(self, claims: Tree) -> User:
        """Check that everything the token is bound to is still there, and return its user."""
        private = claims.get("kubernetes.io") or {}
        namespace = private.get("namespace", "")
        account = private.get("serviceaccount") or {}
        self._present(self._accounts, namespace, account)
        extra = {"authentication.kubernetes.io/credential-id": (f"JTI={claims.get('jti', '')}",)}
        for kind in ("pod", "node", "secret"):
            bound = private.get(kind)
            if not bound:
                continue
            if kind != "node":
                self._present(self._bound[kind.capitalize()], namespace, bound)
            if kind != "secret":
                extra[f"authentication.kubernetes.io/{kind}-name"] = (bound["name"],)
                extra[f"authentication.kubernetes.io/{kind}-uid"] = (bound["uid"],)
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        name = f"system:serviceaccount:{namespace}:{account.get('name', '')}"
        return User(name, account.get("uid", ""), groups, extra)

    def _present(self, codec: Any, namespace: str, reference: Mapping[str, Any]) -> None:
        found = self._services.storage.find(codec, namespace, reference.get("name", ""))
        if found is None or found.tree["metadata"]["uid"] != reference.get("uid"):
            raise Unauthorized("Unauthorized")


def _check_seconds(seconds: int) -> None:
    field = "spec.expirationSeconds"
    if seconds < _LEAST_SECONDS:
        why = "may not specify a duration less than 10 minutes"
    elif seconds > _MOST_SECONDS:
        why = "may not specify a duration larger than 2^32 seconds"
    else:
        return
    cause = Cause("FieldValueInvalid", f"Invalid value: {seconds}: {why}", field)
    raise failures.invalid("TokenRequest", "authentication.k8s.io", "", (cause,))
