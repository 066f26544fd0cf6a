"""Creating, changing and deleting: what the steps of a write promise (api-machinery 7, 8)."""

import asyncio
from dataclasses import replace

import pytest

from homeport.server import Settings
from tests.server.inprocess import CONFIG_MAPS, MERGE, PODS, SERVICES, WITHOUT_ACCOUNTS, config_map, pod, running

pytestmark = pytest.mark.virtual


async def test_a_read_after_an_acknowledged_write_sees_it() -> None:
    async with running() as ask:
        for number in range(20):
            made = await ask.create(CONFIG_MAPS, config_map(f"c-{number}"))
            assert (await ask.get(f"{CONFIG_MAPS}/c-{number}")) == made
            assert len((await ask.get(CONFIG_MAPS))["items"]) == number + 1


async def test_a_write_that_changes_nothing_is_not_written() -> None:
    async with running() as ask:
        made = await ask.create(CONFIG_MAPS, config_map("a", k="v"))
        before = ask.store.revision
        again = await ask("PUT", f"{CONFIG_MAPS}/a", config_map("a", k="v"))
        patched = await ask("PATCH", f"{CONFIG_MAPS}/a", {"data": {"k": "v"}}, content_type=MERGE)
        assert again.body == patched.body == made
        assert ask.store.revision == before


async def test_patches_at_the_same_time_all_take_effect() -> None:
    async with running() as ask:
        await ask.create(CONFIG_MAPS, config_map("a"))
        answers = await asyncio.gather(
            *(ask("PATCH", f"{CONFIG_MAPS}/a", {"data": {f"k{n}": "1"}}, content_type=MERGE) for n in range(20))
        )
        assert {answer.status for answer in answers} == {200}
        assert len((await ask.get(f"{CONFIG_MAPS}/a"))["data"]) == 20


async def test_of_two_conditional_updates_one_is_refused() -> None:
    async with running() as ask:
        made = await ask.create(CONFIG_MAPS, config_map("a"))
        answers = await asyncio.gather(
            *(ask("PUT", f"{CONFIG_MAPS}/a", {**made, "data": {"by": str(number)}}) for number in range(2))
        )
        assert sorted(answer.status for answer in answers) == [200, 409]


async def test_of_creations_of_one_name_one_succeeds() -> None:
    async with running() as ask:
        answers = await asyncio.gather(*(ask("POST", CONFIG_MAPS, config_map("a")) for _ in range(5)))
        assert sorted(answer.status for answer in answers) == [201, 409, 409, 409, 409]


async def test_who_is_told_that_a_name_is_taken_can_read_its_holder() -> None:
    async with running() as ask:

        async def create_or_read() -> int:
            answer = await ask("POST", CONFIG_MAPS, config_map("raced"))
            return answer.status if answer.status == 201 else (await ask("GET", f"{CONFIG_MAPS}/raced")).status

        assert sorted(await asyncio.gather(*(create_or_read() for _ in range(5)))) == [200, 200, 200, 200, 201]


async def test_generated_names_do_not_collide() -> None:
    async with running() as ask:
        bodies = [{"metadata": {"generateName": "g-"}} for _ in range(50)]
        made = await asyncio.gather(*(ask("POST", CONFIG_MAPS, body) for body in bodies))
        assert {answer.status for answer in made} == {201}
        assert len({answer.name for answer in made}) == 50


async def test_an_object_with_finalizers_goes_with_the_last_of_them() -> None:
    async with running() as ask:
        kept = {"metadata": {"name": "a", "finalizers": ["x.y/z"]}}
        await ask.create(CONFIG_MAPS, kept)
        marked = await ask("DELETE", f"{CONFIG_MAPS}/a")
        assert "deletionTimestamp" in marked.body["metadata"]
        assert (await ask("GET", f"{CONFIG_MAPS}/a")).status == 200
        last = await ask("PATCH", f"{CONFIG_MAPS}/a", {"metadata": {"finalizers": None}}, content_type=MERGE)
        assert last.status == 200
        assert (await ask("GET", f"{CONFIG_MAPS}/a")).status == 404


async def test_deleting_twice_at_once_ends() -> None:
    async with running() as ask:
        await ask.create(CONFIG_MAPS, config_map("a"))
        answers = await asyncio.gather(*(ask("DELETE", f"{CONFIG_MAPS}/a") for _ in range(3)))
        assert sorted(answer.status for answer in answers) == [200, 404, 404]


async def test_a_bound_pod_is_given_time_and_an_unbound_one_is_not() -> None:
    async with running() as ask:
        await ask.create(PODS, pod("bound", nodeName="n"))
        await ask.create(PODS, pod("loose"))
        bound, loose = await ask("DELETE", f"{PODS}/bound"), await ask("DELETE", f"{PODS}/loose")
        assert bound.body["metadata"]["deletionGracePeriodSeconds"] == 30
        assert loose.body["metadata"]["deletionGracePeriodSeconds"] == 0
        assert (await ask("GET", f"{PODS}/bound")).status == 200
        assert (await ask("GET", f"{PODS}/loose")).status == 404
        shorter = await ask("DELETE", f"{PODS}/bound?gracePeriodSeconds=0")
        assert shorter.body["metadata"]["deletionGracePeriodSeconds"] == 0
        assert (await ask("GET", f"{PODS}/bound")).status == 404


async def test_a_dry_run_leaves_nothing_behind() -> None:
    async with running() as ask:
        before = ask.store.revision
        made = await ask(
            "POST", f"{SERVICES}?dryRun=All", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
        )
        assert made.status == 201
        assert "resourceVersion" not in made.body["metadata"]
        assert ask.store.revision == before


async def test_binding_twice_is_refused() -> None:
    async with running() as ask:
        await ask.create(PODS, pod("p"))
        target = {"target": {"kind": "Node", "name": "n"}}
        assert (await ask("POST", f"{PODS}/p/binding", target)).status == 201
        assert (await ask("POST", f"{PODS}/p/binding", target)).status == 409
        bound = await ask.get(f"{PODS}/p")
        assert bound["spec"]["nodeName"] == "n"
        assert [(c["type"], c["status"]) for c in bound["status"]["conditions"]] == [("PodScheduled", "True")]


async def test_status_and_spec_are_apart() -> None:
    async with running() as ask:
        await ask.create(PODS, pod("p"))
        await ask(
            "PATCH", f"{PODS}/p/status", {"status": {"phase": "Running"}, "spec": {"nodeName": "n"}}, content_type=MERGE
        )
        await ask("PATCH", f"{PODS}/p", {"status": {"phase": "Failed"}}, content_type=MERGE)
        found = await ask.get(f"{PODS}/p")
        assert found["status"]["phase"] == "Running"
        assert "nodeName" not in found["spec"]


async def test_an_event_written_through_one_group_is_read_through_the_other() -> None:
    async with running() as ask:
        event = {
            "metadata": {"name": "e"},
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
            "reason": "R",
            "message": "m",
            "type": "Normal",
        }
        made = await ask.create("/api/v1/namespaces/default/events", event)
        other = await ask.get("/apis/events.k8s.io/v1/namespaces/default/events/e")
        assert (other["apiVersion"], other["note"], other["regarding"]["name"]) == ("events.k8s.io/v1", "m", "p")
        assert other["metadata"] == made["metadata"]
        assert "deprecatedSource" in other


async def test_events_go_after_an_hour() -> None:
    async with running() as ask:
        event = {"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}, "reason": "R", "type": "Normal"}
        await ask.create("/api/v1/namespaces/default/events", event)
        await asyncio.sleep(3599)
        assert (await ask("GET", "/api/v1/namespaces/default/events/e")).status == 200
        await asyncio.sleep(2)
        assert (await ask("GET", "/api/v1/namespaces/default/events/e")).status == 404


async def test_a_service_takes_its_endpoints_and_its_address_with_it() -> None:
    async with running() as ask:
        body = {"metadata": {"name": "s"}, "spec": {"clusterIP": "10.96.7.7", "ports": [{"port": 80}]}}
        await ask.create(SERVICES, body)
        await ask.create("/api/v1/namespaces/default/endpoints", {"metadata": {"name": "s"}})
        assert (await ask("POST", SERVICES, {**body, "metadata": {"name": "t"}})).status == 422
        await ask("DELETE", f"{SERVICES}/s")
        assert (await ask("GET", "/api/v1/namespaces/default/endpoints/s")).status == 404
        assert (await ask("POST", SERVICES, {**body, "metadata": {"name": "t"}})).status == 201


async def test_a_refused_service_gives_its_numbers_back() -> None:
    async with running() as ask:
        taken = {"spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}}
        assert (await ask("POST", SERVICES, {"metadata": {"name": "BAD"}, **taken})).status == 422
        assert (await ask("POST", SERVICES, {"metadata": {"name": "good"}, **taken})).status == 201


async def test_stored_addresses_stay_taken_over_a_restart() -> None:
    from homeport.store.memory import MemoryStore

    store = MemoryStore()
    body = {"metadata": {"name": "s"}, "spec": {"clusterIP": "10.96.7.8", "ports": [{"port": 80}]}}
    async with running(store=store) as ask:
        await ask.create(SERVICES, body)
    async with running(store=store) as ask:
        assert (await ask("POST", SERVICES, {**body, "metadata": {"name": "t"}})).status == 422
    await store.close()


async def test_a_pod_gets_the_account_of_its_namespace_and_a_token() -> None:
    settings = replace(WITHOUT_ACCOUNTS, disabled_admission=frozenset())
    async with running(settings) as ask:
        refused = await ask("POST", PODS, pod("p"))
        assert refused.status == 403
        assert refused.body["message"].endswith('serviceaccount "default" not found')
        await ask.create("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        made = await ask.create(PODS, pod("p"))
        assert made["spec"]["serviceAccountName"] == "default"
        (volume,) = made["spec"]["volumes"]
        (mount,) = made["spec"]["containers"][0]["volumeMounts"]
        assert volume["name"] == mount["name"]
        assert volume["name"].startswith("kube-api-access-")
        plain = await ask.create(PODS, pod("q", automountServiceAccountToken=False))
        assert "volumes" not in plain["spec"]


async def test_a_namespace_under_deletion_takes_nothing_new() -> None:
    async with running() as ask:
        await ask.create("/api/v1/namespaces", {"metadata": {"name": "n"}})
        gone = await ask("DELETE", "/api/v1/namespaces/n")
        assert gone.body["status"]["phase"] == "Terminating"
        refused = await ask("POST", "/api/v1/namespaces/n/configmaps", config_map("a"))
        assert refused.status == 403
        assert refused.body["details"]["causes"][0]["reason"] == "NamespaceTerminating"
        emptied = {**gone.body, "spec": {"finalizers": []}}
        assert (await ask("PUT", "/api/v1/namespaces/n/finalize", emptied)).status == 200
        assert (await ask("GET", "/api/v1/namespaces/n")).status == 404
        assert (await ask("DELETE", "/api/v1/namespaces/default")).status == 403


async def test_what_is_there_from_the_start() -> None:
    async with running(Settings()) as ask:
        names = [each["metadata"]["name"] for each in (await ask.get("/api/v1/namespaces"))["items"]]
        assert names == ["default", "kube-node-lease", "kube-public", "kube-system"]
        service = await ask.get(f"{SERVICES}/kubernetes")
        assert service["spec"]["clusterIP"] == "10.96.0.1"
        slice_ = await ask.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
        assert slice_["endpoints"][0]["addresses"] == ["10.244.0.1"]
