"""The service account tokens of one pod: asked for once, renewed in time, taken over from an earlier agent.

A token that lies in a pod's volume is as good after a restart of the agent as before it, so nothing is asked for and no
file of any pod is written then. Source: `node` section 8.5.
"""

import base64
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from homeport.api.resources import find
from homeport.client.contract import Client
from homeport.clock import Clock, parse_time
from homeport.node.pod import Pod
from homeport.node.volumes.payload import TokenRequest

__all__ = ["PodTokens"]

SERVICE_ACCOUNTS: Final = find("ServiceAccount")
REFRESH_SHARE: Final = 0.8
MAX_AGE_SECONDS: Final = 24 * 3600.0
JITTER_SECONDS: Final = 10.0

_decode: Final = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    refresh_at: float


class PodTokens:
    """Tokens by what was asked for."""

    def __init__(self, client: Client, clock: Clock, rng: random.Random) -> None:
        self._client, self._clock, self._rng = client, clock, rng
        self._tokens: dict[TokenRequest, _Token] = {}

    @property
    def refresh_at(self) -> float | None:
        """The epoch second at which a token is due, None for none."""
        return min((token.refresh_at for token in self._tokens.values()), default=None)

    def adopt(self, pod: Pod, request: TokenRequest, text: str) -> None:
        """Take over a token an earlier agent left, if it is this pod's and none is due."""
        claims = _claims(text)
        if request in self._tokens or claims is None or not _fits(claims, pod, request):
            return
        issued = float(claims["iat"])
        refresh_at = self._refresh_at(issued, issued + request.seconds)
        if self._clock.now() < refresh_at:
            self._tokens[request] = _Token(text, refresh_at)

    async def get(self, pod: Pod, request: TokenRequest) -> str:
        """Return a token that is not due. Raises ApiError, OSError."""
        now = self._clock.now()
        known = self._tokens.get(request)
        if known is not None and now < known.refresh_at:
            return known.text
        spec: dict[str, Any] = {
            "expirationSeconds": request.seconds,
            "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": pod.name, "uid": pod.uid},
            "audiences": [request.audience] if request.audience else [],
        }
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = await self._client.create(
            SERVICE_ACCOUNTS, body, pod.namespace, subresource="token", name=pod.service_account
        )
        status = answer["status"]
        refresh_at = self._refresh_at(now, parse_time(status["expirationTimestamp"]))
        self._tokens[request] = _Token(status["token"], refresh_at)
        return str(status["token"])

    def _refresh_at(self, issued: float, expires: float) -> float:
        age = min(REFRESH_SHARE * (expires - issued), MAX_AGE_SECONDS)
        return issued + age - self._rng.uniform(0, min(JITTER_SECONDS, age / 10))


def _claims(text: str) -> Mapping[str, Any] | None:
    """Return what a token says, whether or not it is true: None for what is none."""
    try:
        payload = text.split(".")[1]
        found = _decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError, msgspec.DecodeError):
        return None
    return found if isinstance(found, dict) else None


def _fits(claims: Mapping[str, Any], pod: Pod, request: TokenRequest) -> bool:
    private = claims.get("kubernetes.io") or {}
    audience = request.audience or claims.get("iss")
    return (
        isinstance(claims.get("iat"), int)
        and claims.get("aud") == [audience]
        and (private.get("pod") or {}).get("uid") == pod.uid
        and (private.get("serviceaccount") or {}).get("name") == pod.service_account
    )
