"""What `plan` says of the cost."""

from pathlib import Path

import pytest

from keeper.commands.plan import no_gas_price_text
from keeper.config import load_config

FILE = """
[chain]
rpc_url = "http://127.0.0.1:8545"
chain_id = 137
[guard]
owner = "0x1111111111111111111111111111111111111111"
[[protocols]]
kind = "wallet"
tokens = ["0x2222222222222222222222222222222222222222"]
"""
FEED = '[prices]\nnative = "0x3333333333333333333333333333333333333333"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (FILE, "in USD it is told once [prices] native names the aggregator of POL in USD"),
        (FILE + FEED, "the feed of POL in USD, [prices] native, has no usable answer now"),
    ],
)
def test_a_cost_that_cannot_be_told_in_dollars_names_the_key(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "keeper.toml"
    path.write_text(text)
    assert no_gas_price_text(load_config(path)) == says
