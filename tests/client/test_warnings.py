"""What the server warns of reaches whoever asked, as it was written."""

import pytest

from homeport.api.exchange import Request, Response
from homeport.api.resources import find
from homeport.client.rest import RestClient, warnings

CONFIG_MAP = find("ConfigMap")
BODY = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b"}}


@pytest.mark.parametrize(
    ("headers", "texts"),
    [
        ([("warning", '299 - "plain"')], ["plain"]),
        ([("Warning", '299 - "say \\"hi\\""')], ['say "hi"']),
        ([("warning", '299 - "one"'), ("warning", '299 - "two"')], ["one", "two"]),
        ([("warning", '299 - "one", 299 host "two, or three"')], ["one", "two, or three"]),
        ([("warning", '199 - "not ours"'), ("age", '299 - "no"')], []),
    ],
)
def test_warnings_are_read_from_headers(headers: list[tuple[str, str]], texts: list[str]) -> None:
    assert list(warnings(headers)) == texts


class Recorder:
    """A transport that answers every request with the same warning."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    async def send(self, request: Request) -> Response:
        self.requests.append(request)
        return Response(200, [("warning", '299 - "careful"')], b"{}")

    async def close(self) -> None: ...


async def test_writes_ask_for_validation_and_hand_on_warnings() -> None:
    transport, heard = Recorder(), list[str]()
    client = RestClient(transport, "test", field_validation="Strict", on_warning=heard.append)
    await client.create(CONFIG_MAP, BODY)
    await client.update(CONFIG_MAP, BODY)
    await client.patch(CONFIG_MAP, "b", "a", {"data": {}})
    assert [("fieldValidation", "Strict") in request.query for request in transport.requests] == [True] * 3
    assert heard == ["careful"] * 3


async def test_without_a_wish_the_server_decides() -> None:
    transport = Recorder()
    await RestClient(transport, "test").create(CONFIG_MAP, BODY)
    assert transport.requests[0].query == ()
