"""Which objects are meant: label selectors (strings and objects) and field selectors, compiled to matchers."""

from homeport.api.selectors.fields import FieldSelector, parse_field_selector
from homeport.api.selectors.labels import (
    EVERYTHING,
    NOTHING,
    LabelSelector,
    Requirement,
    label_selector_from_object,
    parse_label_selector,
)

__all__ = [
    "EVERYTHING",
    "NOTHING",
    "FieldSelector",
    "LabelSelector",
    "Requirement",
    "label_selector_from_object",
    "parse_field_selector",
    "parse_label_selector",
]
