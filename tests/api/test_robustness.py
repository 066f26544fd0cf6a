"""Whatever decodes is defaulted, prepared, judged, warned of and printed without falling over."""

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from tests.api.generated import bodies
from tests.api.objects import NOW

from homeport.api import decode, schema, services, strategy, tables
from homeport.api.defaults import apply_defaults
from homeport.api.resources import RESOURCES, Resource
from homeport.api.validation import invalid, validate_create, validate_update, warnings_for
from homeport.errors import BadRequest

Tree = dict[str, Any]
MORE = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def received(resource: Resource, body: Tree) -> Tree | None:
    try:
        tree = decode.decode(resource.gvk, copy.deepcopy(body)).tree
    except BadRequest:
        return None
    apply_defaults(resource.gvk, tree)
    return tree


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: f"{resource.kind}.{resource.group}")
@MORE
@given(data=some.data())
def test_any_body_that_decodes_gets_an_answer(resource: Resource, data: some.DataObject) -> None:
    facts = schema.kind_type(resource.gvk)
    assert facts is not None
    made = bodies(facts.name)
    tree = received(resource, data.draw(made))
    if tree is None:
        return
    if resource.kind == "Service":
        services.mirror_cluster_ip(tree)
        services.settle_families(tree, None, ("IPv4",))
    strategy.prepare_for_create(resource.gvk, tree, now=NOW)
    strategy.drop_duplicate_owners(tree)
    violations = validate_create(resource.gvk, tree)
    invalid(resource.gvk, "x", violations).as_status()
    warnings_for(resource.gvk, tree)
    tables.row(resource.gvk, tree, NOW)
    changed = received(resource, data.draw(made))
    if changed is None:
        return
    for subresource in (
        "",
        *(sub.name for sub in resource.subresources if sub.gvk == resource.gvk and "update" in sub.verbs),
    ):
        new = copy.deepcopy(changed)
        if resource.kind == "Service" and not subresource:
            services.carry_over(new, tree)
            services.settle_families(new, tree, ("IPv4",))
        strategy.prepare_for_update(resource.gvk, new, tree, subresource, now=NOW)
        invalid(resource.gvk, "x", validate_update(resource.gvk, new, tree, subresource)).as_status()
        warnings_for(resource.gvk, new, tree)
        tables.row(resource.gvk, new, NOW)
