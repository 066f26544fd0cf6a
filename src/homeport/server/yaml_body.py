"""YAML as clients of Kubernetes write it: one document whose values are JSON's.

Imported on the first YAML body: most clients send JSON.
"""

from typing import Any, Final

import yaml

__all__ = ["Broken", "parse"]

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Broken(Exception):
    """The text is not YAML; the message starts with its line, as go-yaml puts it."""


class _JsonLoader(_Loader):  # type: ignore[misc]
    """Like the safe loader, but dates stay text, keys become strings and repeated keys are told."""

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self.findings: list[str] = []

    def mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        self.flatten_mapping(node)
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = _key(self.construct_object(key_node, deep=True))
            if key in found:
                line = key_node.start_mark.line + 1
                self.findings.append(f'line {line}: key "{key}" already set in map')
            found[key] = self.construct_object(value_node, deep=True)
        return found


def _key(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"
_JsonLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
_JsonLoader.add_constructor("tag:yaml.org,2002:map", _JsonLoader.mapping)


def _line(index: int, body: bytes) -> int:
    """Return the line to name, from 1; an end of the text belongs to its last line."""
    return min(index + 1, len(body.splitlines()) or 1)


def parse(body: bytes) -> tuple[Any, list[str]]:
    """Return the first document's value and a finding per repeated key. Raises Broken."""
    loader = None
    try:
        loader = _JsonLoader(body)
        value = loader.get_single_data()
        return value, loader.findings
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {_line(mark.line, body)}: " if mark is not None else ""
        raise Broken(f"{line}{getattr(error, 'problem', None) or error}") from error
    finally:
        if loader is not None:
            loader.dispose()
