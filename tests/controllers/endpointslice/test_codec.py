"""What is written reads back as what was meant, and foreign fields survive."""

from homeport.controllers.backends import TRIGGER_TIME_ANNOTATION
from homeport.controllers.endpointslice.codec import decode_slice, encode_new, encode_update
from homeport.controllers.endpointslice.model import SliceContent
from tests.controllers.endpointslice.test_reconcile import HTTP, SERVICE, endpoint

CONTENT = SliceContent("IPv4", (HTTP,), (endpoint(1), endpoint(2)), {"team": "x"}, "2026-01-01T00:00:05Z")


def test_a_new_slice_reads_back() -> None:
    body = encode_new(SERVICE, CONTENT)
    body["metadata"] |= {"name": "web-abcde", "uid": "u"}
    read = decode_slice(body)
    assert read.content == CONTENT
    assert read.owner == SERVICE.uid
    assert body["metadata"]["annotations"] == {TRIGGER_TIME_ANNOTATION: "2026-01-01T00:00:05Z"}


def test_an_update_keeps_what_others_wrote() -> None:
    current = encode_new(SERVICE, CONTENT)
    current["metadata"] |= {"name": "web-abcde", "resourceVersion": "7", "finalizers": ["example.com/hold"]}
    current["metadata"]["annotations"]["example.com/note"] = "kept"
    updated = encode_update(current, SliceContent("IPv4", (), (), {}))
    assert updated["metadata"]["finalizers"] == ["example.com/hold"]
    assert updated["metadata"]["resourceVersion"] == "7"
    assert updated["metadata"]["annotations"] == {"example.com/note": "kept"}
    assert (updated["ports"], updated["endpoints"]) == ([], [])


def test_absent_conditions_mean_ready_and_serving() -> None:
    raw = {"metadata": {"name": "a"}, "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}]}
    (read,) = decode_slice(raw).content.endpoints
    assert (read.ready, read.serving, read.terminating) == (True, True, False)
