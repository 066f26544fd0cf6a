"""Questions about users and permissions are answered and forgotten."""

from typing import Any

import pytest

from homeport.api.exchange import User
from tests.server.inprocess import Asker, running

pytestmark = pytest.mark.virtual
ALICE = User("alice", "alice-uid", (), {"scopes": ("a",)})
WHOAMI = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
TOKENS = "/apis/authentication.k8s.io/v1/tokenreviews"
MAY_I = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
MAY_THEY = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
RULES = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"


async def asked(ask: Asker, path: str, spec: Any = None) -> Any:
    answer = await ask("POST", path, {} if spec is None else {"spec": spec})
    assert answer.status == 201, answer.body
    return answer.body


async def test_one_is_told_who_one_is() -> None:
    async with running() as ask:
        before = ask.store.revision
        told = await asked(ask.as_user(ALICE), WHOAMI)
        assert told["status"]["userInfo"] == {
            "username": "alice",
            "uid": "alice-uid",
            "groups": ["system:authenticated"],
            "extra": {"scopes": ["a"]},
        }
        assert ask.store.revision == before


async def test_a_token_is_told_apart_from_a_made_up_one() -> None:
    async with running() as ask:
        accounts = "/api/v1/namespaces/default/serviceaccounts"
        await ask.create(accounts, {"metadata": {"name": "sa"}})
        issued = await ask("POST", f"{accounts}/sa/token", {"spec": {}})
        told = await asked(ask, TOKENS, {"token": issued.body["status"]["token"]})
        assert told["status"]["authenticated"] is True
        assert told["status"]["user"]["username"] == "system:serviceaccount:default:sa"
        assert told["status"]["audiences"] == ["https://kubernetes.default.svc"]
        assert "authenticated" not in (await asked(ask, TOKENS, {"token": "made.up.token"}))["status"]
        assert (await ask("POST", TOKENS, {"spec": {}})).status == 400


@pytest.mark.parametrize(
    ("path", "spec", "allowed"),
    [
        (MAY_I, {"resourceAttributes": {"verb": "get", "resource": "pods"}}, True),
        (MAY_I, {"nonResourceAttributes": {"verb": "get", "path": "/metrics"}}, True),
        (MAY_THEY, {"user": "bob", "resourceAttributes": {"verb": "get", "resource": "pods"}}, True),
        (MAY_THEY, {"user": "system:anonymous", "resourceAttributes": {"verb": "get", "resource": "pods"}}, False),
        (MAY_THEY, {"user": "system:anonymous", "nonResourceAttributes": {"verb": "get", "path": "/readyz"}}, True),
    ],
)
async def test_permissions_are_told(path: str, spec: Any, allowed: bool) -> None:
    async with running() as ask:
        told = await asked(ask, path, spec)
        assert told["status"] == {"allowed": allowed}
        assert told["metadata"] == {}


@pytest.mark.parametrize(
    ("path", "spec", "status"),
    [
        (MAY_I, {}, 422),
        (MAY_I, {"resourceAttributes": {}, "nonResourceAttributes": {}}, 422),
        (MAY_THEY, {"resourceAttributes": {"verb": "get"}}, 422),
        (RULES, {}, 400),
    ],
)
async def test_half_a_question_is_refused(path: str, spec: Any, status: int) -> None:
    async with running() as ask:
        assert (await ask("POST", path, {"spec": spec})).status == status


async def test_a_question_can_only_be_asked() -> None:
    async with running() as ask:
        assert (await ask("GET", MAY_I)).status == 405
        table = "application/json;as=Table;v=v1;g=meta.k8s.io"
        assert (await ask("POST", MAY_I, {"spec": {}}, accept=table)).status == 406
        assert (await ask.as_user(None)("POST", WHOAMI, {})).status == 403
