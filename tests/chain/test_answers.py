"""How requests are written: as JSON writes them, however long what is in them."""

import json
from typing import Any

import pytest

from keeper.chain.answers import prebuilt_hex, to_hex, to_json


def a_request(*params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": "eth_call", "params": list(params)}


@pytest.mark.parametrize(
    "params",
    [
        (),
        ({"to": "0x01", "data": to_hex(b"\x2a" * 1_000)}, {"blockHash": "0x02", "requireCanonical": True}),
        ({"to": "0x01", "data": prebuilt_hex(b""), "gas": "0x5"}, "latest", {"0x03": {"code": "0x60"}}),
        ({"to": "0x01", "data": 'no "hex" at all'}, "latest"),
        (to_hex(b"\x01"),),
        ("latest", False),
        ([{"calls": [{"data": to_hex(b"\x01")}]}],),
    ],
)
def test_a_request_is_written_as_json_writes_it(params: tuple[Any, ...]) -> None:
    request = a_request(*params)
    assert to_json(request) == json.dumps(request).encode()
