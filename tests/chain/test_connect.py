"""From keeper.toml to endpoints: each its own, none twice, and a quorum where one is asked for."""

from pathlib import Path

import pytest

from keeper.chain.connect import connect
from keeper.chain.quorum import QuorumRpc
from keeper.config import Config, load_config
from keeper.errors import ConfigError

OWNER = "0x00000000000000000000000000000000000a11ce"


def config(folder: Path, rpc_url: str, quorum: int = 1) -> Config:
    path = folder / "keeper.toml"
    path.write_text(
        f"[chain]\nrpc_url = {rpc_url}\nchain_id = 1\nquorum = {quorum}\n"
        f'[guard]\nowner = "{OWNER}"\n[[protocols]]\nkind = "wallet"\ntokens = ["{OWNER}"]\n'
    )
    return load_config(path)


async def test_one_endpoint_is_one(tmp_path: Path) -> None:
    async with connect(config(tmp_path, '"http://127.0.0.1:1"')) as rpc:
        assert rpc.label == "http://127.0.0.1:1"
        assert not isinstance(rpc, QuorumRpc)


async def test_endpoints_of_one_host_are_told_apart(tmp_path: Path) -> None:
    urls = '["https://node.example/v3/SECRET-A", "http://127.0.0.1:1", "https://node.example/v3/SECRET-B"]'
    async with connect(config(tmp_path, urls)) as rpc:
        assert rpc.label == "https://node.example/… (1) and http://127.0.0.1:1 and https://node.example/… (2)"


async def test_with_a_quorum_endpoints_have_to_agree(tmp_path: Path) -> None:
    async with connect(config(tmp_path, '["http://127.0.0.1:1", "http://127.0.0.1:2"]', quorum=2)) as rpc:
        assert isinstance(rpc, QuorumRpc)


async def test_the_same_endpoint_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be a quorum with itself; behind a reference only now does it show."""
    monkeypatch.setenv("NODE", "http://127.0.0.1:1/")
    with pytest.raises(ConfigError, match="names the same endpoint twice; remove one of the two"):
        async with connect(config(tmp_path, '["http://127.0.0.1:1", "env:NODE"]', quorum=2)):
            pass
