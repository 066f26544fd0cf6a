"""Roles decide: what they grant, what they do not, and that nobody grants what he does not hold."""

from dataclasses import replace
from typing import Any

import pytest

from homeport.api.exchange import User
from homeport.server.authorization import Action
from homeport.server.rbac import Rule, merged, single_rules
from tests.server.inprocess import CONFIG_MAPS, PODS, WITHOUT_ACCOUNTS, Asker, config_map, running

pytestmark = pytest.mark.virtual
RBAC = replace(WITHOUT_ACCOUNTS, authorization="RBAC")
ALICE = User("alice", groups=("system:authenticated",))
BOB = User("bob", groups=("developers", "system:authenticated"))
ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"


async def grant(ask: Asker, name: str, subject: Any, *rules: Any) -> None:
    await ask.create(ROLES, {"metadata": {"name": name}, "rules": list(rules)})
    reference = {"kind": "Role", "name": name}
    await ask.create(BINDINGS, {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]})


def rule(verbs: str, resources: str, groups: str = "", **more: Any) -> Any:
    return {"verbs": verbs.split(), "apiGroups": [groups], "resources": resources.split(), **more}


@pytest.mark.parametrize(
    ("granted", "verb", "resource", "name", "allowed"),
    [
        (Rule(("get",), ("",), ("pods",)), "get", "pods", "p", True),
        (Rule(("get",), ("",), ("pods",)), "list", "pods", "", False),
        (Rule(("get",), ("apps",), ("pods",)), "get", "pods", "p", False),
        (Rule(("*",), ("*",), ("*",)), "delete", "pods/log", "p", True),
        (Rule(("get",), ("",), ("pods",)), "get", "pods/log", "p", False),
        (Rule(("get",), ("",), ("*/log",)), "get", "pods/log", "p", True),
        (Rule(("get",), ("",), ("pods/log",)), "get", "pods/log", "p", True),
        (Rule(("get",), ("",), ("pods",), ("only",)), "get", "pods", "only", True),
        (Rule(("get",), ("",), ("pods",), ("only",)), "get", "pods", "other", False),
        (Rule(("create",), ("",), ("pods",), ("only",)), "create", "pods", "", False),
    ],
)
def test_a_rule_covers_what_it_says(granted: Rule, verb: str, resource: str, name: str, allowed: bool) -> None:
    plural, _, sub = resource.partition("/")
    assert granted.covers(Action(verb, "", plural, sub, "default", name)) is allowed


@pytest.mark.parametrize(
    ("pattern", "path", "allowed"),
    [
        ("/apis/*", "/apis/apps", True),
        ("/apis", "/apis/apps", False),
        ("*", "/x", True),
        ("/healthz", "/healthz", True),
    ],
)
def test_a_path_is_matched_whole_or_by_its_beginning(pattern: str, path: str, allowed: bool) -> None:
    assert Rule(("get",), paths=(pattern,)).covers(Action("get", path=path)) is allowed


def test_rules_come_apart_and_together_again() -> None:
    whole = Rule(("get", "list"), ("",), ("pods", "secrets"))
    assert set(merged(single_rules([whole]))) == {
        Rule(("get", "list"), ("",), ("pods",)),
        Rule(("get", "list"), ("",), ("secrets",)),
    }


async def test_a_binding_opens_what_its_role_says_and_closes_it_when_it_goes() -> None:
    async with running(RBAC) as ask:
        alice = ask.as_user(ALICE)
        assert (await alice("GET", PODS)).status == 403
        await grant(ask, "reader", {"kind": "User", "name": "alice"}, rule("get list", "pods"))
        assert (await alice("GET", PODS)).status == 200
        assert (await alice("GET", f"{PODS}/p")).status == 404
        assert (await alice("DELETE", f"{PODS}/p")).status == 403
        assert (await alice("GET", "/api/v1/pods")).status == 403
        assert (await alice("GET", "/api/v1/namespaces/kube-system/pods")).status == 403
        await ask("DELETE", f"{BINDINGS}/reader")
        assert (await alice("GET", PODS)).status == 403


async def test_accounts_and_groups_are_subjects_too() -> None:
    async with running(RBAC) as ask:
        account = {"kind": "ServiceAccount", "name": "sa", "namespace": "default"}
        await grant(ask, "account", account, rule("get", "configmaps"))
        await grant(ask, "group", {"kind": "Group", "name": "developers"}, rule("create", "configmaps"))
        pod = ask.as_user(User("system:serviceaccount:default:sa", groups=("system:serviceaccounts",)))
        assert (await pod("GET", f"{CONFIG_MAPS}/x")).status == 404
        assert (await pod("POST", CONFIG_MAPS, config_map("x"))).status == 403
        assert (await ask.as_user(BOB)("POST", CONFIG_MAPS, config_map("x"))).status == 201


async def test_one_name_may_be_listed_by_itself() -> None:
    async with running(RBAC) as ask:
        await grant(
            ask, "one", {"kind": "User", "name": "alice"}, rule("list watch", "configmaps", resourceNames=["only"])
        )
        alice = ask.as_user(ALICE)
        assert (await alice("GET", f"{CONFIG_MAPS}?fieldSelector=metadata.name=only")).status == 200
        assert (await alice("GET", f"{CONFIG_MAPS}?fieldSelector=metadata.name=other")).status == 403
        assert (await alice("GET", CONFIG_MAPS)).status == 403


async def test_nobody_grants_more_than_he_holds() -> None:
    async with running(RBAC) as ask:
        group = "rbac.authorization.k8s.io"
        manager = (rule("create update patch get", "roles rolebindings", group), rule("get", "pods"))
        await grant(ask, "manager", {"kind": "User", "name": "bob"}, *manager)
        await ask.create(ROLES, {"metadata": {"name": "strong"}, "rules": [rule("get", "secrets")]})
        bob = ask.as_user(BOB)
        assert (await bob("POST", ROLES, {"metadata": {"name": "a"}, "rules": [rule("get", "pods")]})).status == 201
        refused = await bob("POST", ROLES, {"metadata": {"name": "b"}, "rules": [rule("get list", "secrets")]})
        assert refused.status == 403
        assert refused.body["message"].endswith(
            'not currently held:\n{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}'
        )
        subjects = [{"kind": "User", "name": "bob"}]
        strong = {"metadata": {"name": "x"}, "roleRef": {"kind": "Role", "name": "strong"}, "subjects": subjects}
        assert (await bob("POST", BINDINGS, strong)).status == 403


async def test_who_may_not_ask_is_not_told_whether_it_exists() -> None:
    async with running(RBAC) as ask:
        answer = await ask.as_user(ALICE)("GET", "/apis/nope.example.com/v1/namespaces/default/things/x")
        assert answer.status == 403
        assert answer.body["message"].startswith('things.nope.example.com "x" is forbidden: User "alice" cannot get')


async def test_asking_as_another_needs_leave_and_is_that_others_asking() -> None:
    async with running(RBAC) as ask:
        as_alice = await ask("GET", PODS, impersonate_user="alice")
        assert as_alice.status == 403
        assert as_alice.body["message"].startswith('pods is forbidden: User "alice" cannot list')
        assert (await ask("GET", PODS, impersonate_user="alice", impersonate_group="system:masters")).status == 200
        refused = await ask.as_user(ALICE)("GET", PODS, impersonate_user="bob")
        assert 'User "alice" cannot impersonate-on:user-info:list' in refused.body["message"]
        assert (await ask("GET", PODS, impersonate_group="g")).status == 400


async def test_the_default_roles_are_there_and_the_known_may_discover() -> None:
    async with running(RBAC) as ask:
        roles = await ask.get("/apis/rbac.authorization.k8s.io/v1/clusterroles")
        names = {each["metadata"]["name"] for each in roles["items"]}
        assert {"cluster-admin", "admin", "edit", "view", "system:discovery"} <= names
        alice = ask.as_user(ALICE)
        assert (await alice("GET", "/apis")).status == 200
        assert (await alice("GET", "/metrics")).status == 403
        assert (await ask.as_user(None)("GET", "/readyz")).status == 200
        assert (await ask.as_user(None)("GET", "/api")).status == 403
