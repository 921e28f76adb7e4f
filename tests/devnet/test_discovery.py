"""Positions are found on a running chain: by `init` for the file, later by `status` and the daemon beside it."""

import time
from pathlib import Path

import pytest

from scripts.localchain import aave
from scripts.localchain.devnet import Devnet
from scripts.localchain.world import OWNER, STRANGER, UNPROTECTED
from tests.commands.shell import Ran, keeper

pytestmark = pytest.mark.devnet

ACCOUNT = f"aave:{OWNER.address.lower()}"


@pytest.fixture(autouse=True)
def a_block_of_now(devnet: Devnet) -> None:
    """A chain that is put back stays behind by as much, and a node whose newest block is old is a fault of its own."""
    devnet.node.set_next_timestamp(max(int(time.time()), devnet.node.timestamp() + 1))
    devnet.node.mine()


def opens_an_account(devnet: Devnet) -> None:
    """10 WETH and 1 WBTC against 40,000 USDC on Aave: health 1.69."""
    aave.open_account(
        devnet.node, devnet.deployment.aave, OWNER, {"WETH": 10 * 10**18, "WBTC": 10**8}, {"USDC": 40_000 * 10**6}
    )


def init(devnet: Devnet, output: Path, *options: str) -> Ran:
    where = f"--owner {OWNER.address} --rpc-url {devnet.url} --output {output}"
    return keeper(f"init {where} {' '.join(options)}")


def on_both(devnet: Devnet) -> tuple[str, ...]:
    return "--discover", f"--morpho {devnet.deployment.morpho}", f"--aave-pool {devnet.deployment.aave.pool}"


# init -----------------------------------------------------------------------------------------------------------------


def test_init_finds_an_aave_account_beside_the_markets_and_the_file_is_taken(devnet: Devnet, tmp_path: Path) -> None:
    opens_an_account(devnet)
    path = tmp_path / "keeper.toml"
    ran = init(devnet, path, *on_both(devnet))
    assert ran.code == 0, ran.err
    assert "8 positions of " in ran.out
    assert (
        "aave 0x70…79C8 WETH+WBTC/USDC (aave:0x7099…79c8): 10 WETH, 1 WBTC, owes 40,000 USDC, health 1.6887" in ran.out
    )
    text = path.read_text()
    assert f'pool = "{devnet.deployment.aave.pool.lower()}"' in text
    assert f'    "{OWNER.address.lower()}",  # aave 0x70…79C8 WETH+WBTC/USDC\n' in text
    # It owes, so what the other positions hold may come to it as well.
    assets = text.partition("assets = [")[2].partition("]")[0]
    assert [line.rpartition("# ")[2] for line in assets.strip().splitlines()] == ["WETH", "WBTC", "wstETH"]
    assert f'[policy.overrides."{ACCOUNT}"]' in text
    shown = keeper("status --json", config=path).document
    assert {each["id"] for each in shown["subaccounts"]} >= {ACCOUNT, "wallet"}
    checked = keeper("check --json", config=path)
    assert {each["grade"] for each in checked.document["findings"] if each["subject"] == "config"} == {"fine"}


def test_init_keeps_an_aave_account_alone_with_the_tokens_that_the_wallet_holds_of_it(
    devnet: Devnet, tmp_path: Path
) -> None:
    opens_an_account(devnet)
    path = tmp_path / "keeper.toml"
    ran = init(devnet, path, "--discover", f"--aave-pool {devnet.deployment.aave.pool}", "--json")
    assert ran.code == 0, ran.err
    assert ran.document["positions"] == [ACCOUNT, "wallet"]
    text = path.read_text()
    assert "morpho_blue" not in text
    tokens = text.partition("tokens = [")[2].partition("]")[0]
    assert [line.rpartition("# ")[2] for line in tokens.strip().splitlines()] == ["WETH", "WBTC"]


def test_what_is_supplied_and_switched_off_is_found_too(devnet: Devnet, tmp_path: Path) -> None:
    market = devnet.deployment.aave
    aave.supply(devnet.node, market, OWNER, "DAI", 500 * 10**18)
    aave.use_as_collateral(devnet.node, market, OWNER, "DAI", False)
    ran = init(devnet, tmp_path / "keeper.toml", "--discover", f"--aave-pool {market.pool}")
    assert ran.code == 0, ran.err
    assert "(aave:0x7099…79c8): 500 DAI, no debt" in ran.out


def test_another_account_is_kept_when_it_is_named(devnet: Devnet, tmp_path: Path) -> None:
    opens_an_account(devnet)
    aave.supply(devnet.node, devnet.deployment.aave, UNPROTECTED, "WETH", 10**18)
    path = tmp_path / "keeper.toml"
    ran = init(devnet, path, *on_both(devnet), f"--account {UNPROTECTED.address}", "--json")
    assert f"aave:{UNPROTECTED.address.lower()}" in ran.document["positions"]
    shown = keeper("status --json", config=path).document["subaccounts"]
    assert {each["holder"] for each in shown} == {OWNER.address.lower(), UNPROTECTED.address.lower()}


def test_a_pool_that_was_named_and_is_none_is_refused(devnet: Devnet, tmp_path: Path) -> None:
    ran = init(devnet, tmp_path / "keeper.toml", "--discover", f"--aave-pool {STRANGER.address}")
    assert ran.code == 2
    assert ran.error == (
        f"{STRANGER.address.lower()} is not an Aave v3 pool: it lists no reserves; correct its address."
    )
