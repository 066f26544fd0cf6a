"""What a client is told although the write succeeds; `warnings.yaml` holds one oddity per entry."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.api.objects import CONFIG_MAP, DEPLOYMENT, POD, container, created, pod, workload

from homeport.api.resources import Gvk
from homeport.api.validation import deprecation, warnings_for

CASES = yaml.safe_load((Path(__file__).parent / "warnings.yaml").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["said"][:40])
def test_oddities_are_mentioned(case: Any) -> None:
    group, _, version = case["body"]["apiVersion"].rpartition("/")
    gvk = Gvk(group, version, case["body"]["kind"])
    assert case["said"] in warnings_for(gvk, created(gvk, case["body"]))


@pytest.mark.parametrize(
    ("value", "mentioned"),
    [("other", True), ("$(PATH)", True), ("/bin:$(PATH)", False)],
)
def test_a_variable_may_extend_its_namesake_but_not_hide_it(value: str, mentioned: bool) -> None:
    env = [{"name": "PATH", "value": "/usr/bin"}, {"name": "PATH", "value": value}]
    said = warnings_for(POD, created(POD, container(env=env)))
    hides = 'spec.containers[0].env[1]: hides previous definition of "PATH", which may be dropped when using apply'
    assert said == ([hides] if mentioned else [])


def test_paths_in_a_template_start_at_the_template() -> None:
    body = workload()
    body["spec"]["template"]["spec"]["imagePullSecrets"] = [{}]
    assert warnings_for(DEPLOYMENT, created(DEPLOYMENT, body)) == [
        'spec.template.spec.imagePullSecrets[0].name: invalid empty name ""'
    ]


def test_a_name_unfit_for_hosts_is_mentioned_once_created() -> None:
    body = {**workload(), "metadata": {"name": "a.b"}}
    tree = created(DEPLOYMENT, body)
    assert warnings_for(DEPLOYMENT, tree) == [
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "
        "a DNS label is recommended: [must not contain dots]"
    ]
    assert warnings_for(DEPLOYMENT, tree, tree) == []


def test_updates_of_pods_are_silent() -> None:
    tree = created(POD, pod(imagePullSecrets=[{}]))
    assert warnings_for(POD, tree, tree) == []


def test_kinds_on_their_way_out_say_so_always() -> None:
    assert deprecation(Gvk("", "v1", "Endpoints")).startswith("v1 Endpoints is deprecated in v1.33+")
    assert deprecation(CONFIG_MAP) == ""
