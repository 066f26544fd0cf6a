"""Service-account tokens: issued, known again, and worthless once what they are bound to is gone."""

import asyncio
import base64
import json

import pytest

from tests.server.inprocess import PODS, Asker, pod, running

pytestmark = pytest.mark.virtual
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"


async def issue(ask: Asker, **spec: object) -> str:
    answer = await ask("POST", f"{ACCOUNTS}/sa/token", {"spec": spec})
    assert answer.status == 201, answer.body
    return str(answer.body["status"]["token"])


async def status_with(ask: Asker, token: str) -> int:
    return (await ask.as_user(None)("GET", PODS, authorization=f"Bearer {token}")).status


async def test_a_token_stands_for_its_account_until_it_expires() -> None:
    async with running() as ask:
        await ask.create(ACCOUNTS, {"metadata": {"name": "sa"}})
        token = await issue(ask, expirationSeconds=600)
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        assert claims["sub"] == "system:serviceaccount:default:sa"
        assert await status_with(ask, token) == 200
        await asyncio.sleep(599)
        assert await status_with(ask, token) == 200
        await asyncio.sleep(2)
        assert await status_with(ask, token) == 401


async def test_a_token_dies_with_the_pod_it_is_bound_to() -> None:
    async with running() as ask:
        await ask.create(ACCOUNTS, {"metadata": {"name": "sa"}})
        made = await ask.create(PODS, pod("p", serviceAccountName="sa"))
        reference = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": made["metadata"]["uid"]}
        token = await issue(ask, boundObjectRef=reference)
        assert await status_with(ask, token) == 200
        await ask("DELETE", f"{PODS}/p")
        assert await status_with(ask, token) == 401


async def test_a_changed_token_is_refused() -> None:
    async with running() as ask:
        await ask.create(ACCOUNTS, {"metadata": {"name": "sa"}})
        head, claims, signature = (await issue(ask)).split(".")
        body = json.loads(base64.urlsafe_b64decode(claims + "=="))
        body["sub"] = "system:serviceaccount:kube-system:other"
        forged = base64.urlsafe_b64encode(json.dumps(body).encode()).decode().rstrip("=")
        assert await status_with(ask, f"{head}.{forged}.{signature}") == 401
        assert await status_with(ask, f"{head}.{claims}.") == 401
        assert await status_with(ask, "a.b.c") == 401
        none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
        assert await status_with(ask, f"{none}.{claims}.{signature}") == 401


async def test_a_token_for_others_opens_nothing_here() -> None:
    async with running() as ask:
        await ask.create(ACCOUNTS, {"metadata": {"name": "sa"}})
        assert await status_with(ask, await issue(ask, audiences=["vault"])) == 401


async def test_lifetimes_have_bounds() -> None:
    async with running() as ask:
        await ask.create(ACCOUNTS, {"metadata": {"name": "sa"}})
        answer = await ask("POST", f"{ACCOUNTS}/sa/token", {"spec": {"expirationSeconds": 10}})
        assert answer.status == 422


async def test_the_key_set_verifies_what_was_issued() -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    def number(text: str) -> int:
        return int.from_bytes(base64.urlsafe_b64decode(text + "=="), "big")

    async with running() as ask:
        await ask.create(ACCOUNTS, {"metadata": {"name": "sa"}})
        token = await issue(ask)
        (key,) = (await ask("GET", "/openid/v1/jwks")).body["keys"]
        public = ec.EllipticCurvePublicNumbers(number(key["x"]), number(key["y"]), ec.SECP256R1()).public_key()
        signed, _, signature = token.rpartition(".")
        raw = base64.urlsafe_b64decode(signature + "==")
        der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        public.verify(der, signed.encode(), ec.ECDSA(SHA256()))
