"""Answers as YAML, in the style clients know. Imported when the first client asks for it."""

from typing import Any

import yaml

__all__ = ["dump"]

_Base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_Base):  # type: ignore[misc]
    """Quotes text with double quotes where it must be quoted."""

    def text(self, value: str) -> Any:
        style = None
        if "\n" in value:
            style = "|"
        elif not value or not _reads_as_text(value):
            style = '"'
        return self.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _reads_as_text(value: str) -> bool:
    """Tell whether the bare text would be read back as text, and not as a number, a date or the like."""
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers.get(value[:1], ())
    return value.strip() == value and not any(pattern.match(value) for _, pattern in resolvers)


_Dumper.add_representer(str, _Dumper.text)


def dump(document: Any) -> bytes:
    """Return a document as block-style YAML with sorted keys."""
    text: str = yaml.dump(
        document, Dumper=_Dumper, default_flow_style=False, sort_keys=True, allow_unicode=True, width=10**6
    )
    return text.encode()
