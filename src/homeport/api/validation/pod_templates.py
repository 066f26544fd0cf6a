"""Rules of PodTemplates (workloads 8)."""

from typing import Any

from homeport.api.validation import names
from homeport.api.validation.common import pod_template
from homeport.api.validation.errors import FieldError
from homeport.api.validation.metadata import validate_metadata, validate_metadata_update

__all__ = ["validate_pod_template", "validate_pod_template_update"]

Tree = dict[str, Any]


def validate_pod_template(tree: Tree) -> list[FieldError]:
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)
    return errors + pod_template(tree["template"], "template")


def validate_pod_template_update(new: Tree, old: Tree) -> list[FieldError]:
    return validate_metadata_update(new["metadata"], old["metadata"]) + pod_template(new["template"], "template")
