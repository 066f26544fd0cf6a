"""The forms a name may have. Each function returns what is wrong with the text, in the words of upstream.

Answers are remembered: the same few label keys, ports and names come again and again.
"""

import re
from functools import lru_cache
from typing import Final

__all__ = [
    "config_key",
    "dns1035_label",
    "dns1123_label",
    "dns1123_subdomain",
    "dns1123_subdomain_with_underscore",
    "env_name",
    "label_value",
    "path_segment",
    "port_name",
    "qualified_name",
]

Problems = tuple[str, ...]

LABEL_LIMIT: Final = 63
SUBDOMAIN_LIMIT: Final = 253

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_UNDERSCORE_LABEL: Final = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_UNDERSCORE: Final = rf"{_UNDERSCORE_LABEL}(\.{_UNDERSCORE_LABEL})*"
_DNS1035: Final = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED: Final = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE: Final = f"({_QUALIFIED})?"
_CONFIG_KEY: Final = "[-._a-zA-Z0-9]+"

_LABEL_RE: Final = re.compile(_LABEL)
_SUBDOMAIN_RE: Final = re.compile(_SUBDOMAIN)
_UNDERSCORE_RE: Final = re.compile(_UNDERSCORE)
_DNS1035_RE: Final = re.compile(_DNS1035)
_QUALIFIED_RE: Final = re.compile(_QUALIFIED)
_VALUE_RE: Final = re.compile(_VALUE)
_CONFIG_KEY_RE: Final = re.compile(_CONFIG_KEY)
_ENV_RE: Final = re.compile(r"[\x20-\x3c\x3e-\x7e]+")

_ALNUM_ENDS: Final = "and must start and end with an alphanumeric character"
_LABEL_TEXT: Final = (
    f"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', {_ALNUM_ENDS} "
    f"(e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_SUBDOMAIN_RULE: Final = (
    f"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', {_ALNUM_ENDS}"
)
_SUBDOMAIN_TEXT: Final = f"{_SUBDOMAIN_RULE} (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
_UNDERSCORE_TEXT: Final = f"{_SUBDOMAIN_RULE} (e.g. 'example.com', regex used for validation is '{_UNDERSCORE}')"
_DNS1035_TEXT: Final = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    f"and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '{_DNS1035}')"
)
_QUALIFIED_TEXT: Final = (
    f"must consist of alphanumeric characters, '-', '_' or '.', {_ALNUM_ENDS} "
    f"(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_QUALIFIED}')"
)
_VALUE_TEXT: Final = (
    f"a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', {_ALNUM_ENDS} "
    f"(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '{_VALUE}')"
)
_CONFIG_KEY_TEXT: Final = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
    f"(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '{_CONFIG_KEY}')"
)


def _longer(text: str, limit: int, unit: str = "characters") -> Problems:
    return (f"must be no more than {limit} {unit}",) if len(text.encode()) > limit else ()


@lru_cache(maxsize=8192)
def dns1123_label(text: str) -> Problems:
    problems = _longer(text, LABEL_LIMIT)
    if not _LABEL_RE.fullmatch(text):
        problems += ("must not contain dots" if _SUBDOMAIN_RE.fullmatch(text) else _LABEL_TEXT,)
    return problems


@lru_cache(maxsize=8192)
def dns1123_subdomain(text: str) -> Problems:
    problems = _longer(text, SUBDOMAIN_LIMIT)
    return problems if _SUBDOMAIN_RE.fullmatch(text) else (*problems, _SUBDOMAIN_TEXT)


@lru_cache(maxsize=1024)
def dns1123_subdomain_with_underscore(text: str) -> Problems:
    """A search path may have labels such as `_tcp`."""
    problems = _longer(text, SUBDOMAIN_LIMIT)
    return problems if _UNDERSCORE_RE.fullmatch(text) else (*problems, _UNDERSCORE_TEXT)


@lru_cache(maxsize=1024)
def dns1035_label(text: str) -> Problems:
    problems = _longer(text, LABEL_LIMIT)
    return problems if _DNS1035_RE.fullmatch(text) else (*problems, _DNS1035_TEXT)


@lru_cache(maxsize=8192)
def qualified_name(text: str) -> Problems:
    """`prefix/name` or `name`: label keys, finalizers, resource names."""
    parts = text.split("/")
    problems: Problems = ()
    if len(parts) == 2:
        if not parts[0]:
            problems += ("prefix part must be non-empty",)
        else:
            problems += tuple(f"prefix part {problem}" for problem in dns1123_subdomain(parts[0]))
    elif len(parts) > 2:
        return (
            f"a qualified name {_QUALIFIED_TEXT} with an optional DNS subdomain prefix and '/' "
            "(e.g. 'example.com/MyName')",
        )
    name = parts[-1]
    if not name:
        problems += ("name part must be non-empty",)
    problems += tuple(f"name part {problem}" for problem in _longer(name, LABEL_LIMIT, "bytes"))
    if not _QUALIFIED_RE.fullmatch(name):
        problems += (f"name part {_QUALIFIED_TEXT}",)
    return problems


@lru_cache(maxsize=8192)
def label_value(text: str) -> Problems:
    problems = _longer(text, LABEL_LIMIT, "bytes")
    return problems if _VALUE_RE.fullmatch(text) else (*problems, _VALUE_TEXT)


@lru_cache(maxsize=1024)
def port_name(text: str) -> Problems:
    """An IANA service name (RFC 6335 5.1)."""
    problems = _longer(text, 15)
    if not re.fullmatch("[-a-z0-9]+", text):
        problems += ("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",)
    if not re.search("[a-z]", text):
        problems += ("must contain at least one letter (a-z)",)
    if "--" in text:
        problems += ("must not contain consecutive hyphens",)
    if text and (text[0] == "-" or text[-1] == "-"):
        problems += ("must not begin or end with a hyphen",)
    return problems


@lru_cache(maxsize=1024)
def config_key(text: str) -> Problems:
    problems = _longer(text, SUBDOMAIN_LIMIT)
    if not _CONFIG_KEY_RE.fullmatch(text):
        problems += (_CONFIG_KEY_TEXT,)
    if text == ".":
        return (*problems, "must not be '.'")
    if text == "..":
        return (*problems, "must not be '..'")
    if text.startswith(".."):
        return (*problems, "must not start with '..'")
    return problems


@lru_cache(maxsize=1024)
def env_name(text: str) -> Problems:
    if _ENV_RE.fullmatch(text):
        return ()
    return ("a valid environment variable name must consist only of printable ASCII characters other than '='",)


def path_segment(text: str) -> Problems:
    if text in (".", ".."):
        return (f"may not be '{text}'",)
    return tuple(f"may not contain '{char}'" for char in "/%" if char in text)
