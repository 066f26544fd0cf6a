"""Image references in full and in short."""

import pytest

from homeport.node.images.reference import InvalidReference, parse

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("nginx:1.7.9", "docker.io/library/nginx:1.7.9", "nginx:1.7.9"),
        ("bitnami/redis:7", "docker.io/bitnami/redis:7", "bitnami/redis:7"),
        ("docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("index.docker.io/library/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/a/b:v1", "localhost:5000/a/b:v1", "localhost:5000/a/b:v1"),
        ("127.0.0.1:5000/app", "127.0.0.1:5000/app:latest", "127.0.0.1:5000/app:latest"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}", f"nginx@{DIGEST}"),
        ("homeport.local/host", "homeport.local/host:latest", "homeport.local/host:latest"),
    ],
)
def test_missing_parts_are_filled_in(text: str, full: str, familiar: str) -> None:
    reference = parse(text)
    assert str(reference) == full
    assert reference.familiar == familiar
    assert parse(full) == reference


def test_a_digest_outranks_a_tag() -> None:
    assert parse(f"nginx:1@{DIGEST}").pinned == DIGEST


@pytest.mark.parametrize(
    "text", ["", ":tag", "Nginx", "nginx:", "nginx:a/b", "a//b", "-a", "nginx@sha256:12", "nginx:" + "t" * 129, "a b"]
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference):
        parse(text)


def test_upper_case_is_named_as_the_reason() -> None:
    with pytest.raises(InvalidReference, match="repository name must be lowercase"):
        parse("Nginx:1")
