"""The local chain itself: what stands on it, and that tests turn its prices and clock without disturbing others."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from keeper.config import load_config
from scripts.localchain import anvil, deploy, liquidator, world
from scripts.localchain import devnet as devnets
from scripts.localchain.abi import decode_words, encode_call
from scripts.localchain.anvil import ROOT
from scripts.localchain.chain import WishError, new_answer, parse_duration
from scripts.localchain.deploy import Deployment
from scripts.localchain.devnet import Devnet, NotRunningError
from scripts.localchain.node import Node, NodeError
from scripts.localchain.observe import NO_DEBT
from scripts.localchain.world import DEPLOYER, KEEPER, OWNER, STRANGER, UNPROTECTED

pytestmark = pytest.mark.devnet

HEALTHS = {
    "WETH/USDC 86%": 1_219_858_156_000_000_000,
    "WETH/DAI 77%": 1_299_578_059_000_000_000,
    "WBTC/USDC 86%": 1_210_131_332_000_000_000,
    "WETH/USDC 77%": 2_673_611_111_000_000_000,
    "wstETH/WETH 94.5%": 1_260_000_000_000_000_000,
}


# What stands on it ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("person", [OWNER, UNPROTECTED], ids=lambda person: person.name)
def test_both_wallets_hold_the_same_positions(devnet: Devnet, person: world.Person) -> None:
    seen = devnet.chain.observe()
    healths = {name: position.health for name, position in seen.positions[person.address].items()}
    assert healths.pop("WETH/DAI 86%") == NO_DEBT
    # Interest since the deployment makes them a trace smaller.
    assert healths == {name: pytest.approx(health, rel=1e-4) for name, health in HEALTHS.items()}
    assert seen.idle_raw[person.address]["WETH"] == 2_000_000_000_000_000_000
    assert seen.idle_raw[person.address]["WBTC"] == 30_000_000


def test_prices_are_fresh_at_the_start(devnet: Devnet) -> None:
    now = devnet.node.timestamp()
    for feed in devnet.deployment.feeds.values():
        *_, updated_at, _ = decode_words(
            ["uint80", "int256", "uint256", "uint256", "uint80"],
            devnet.node.call(feed, encode_call("latestRoundData()")),
        )
        assert 0 <= now - updated_at < 60


def test_an_oracle_multiplies_its_feeds_and_names_them(devnet: Devnet) -> None:
    market = devnet.deployment.markets["WETH/USDC 86%"]
    (price,) = decode_words(["uint256"], devnet.node.call(market.oracle, encode_call("price()")))
    assert price == 2_500 * 10 ** (36 + 6 - 18)
    (base,) = decode_words(["address"], devnet.node.call(market.oracle, encode_call("BASE_FEED_1()")))
    (quote,) = decode_words(["address"], devnet.node.call(market.oracle, encode_call("QUOTE_FEED_1()")))
    assert (base, quote) == (devnet.deployment.feeds["ETH/USD"], devnet.deployment.feeds["USDC/USD"])


def test_the_guard_knows_its_owner_its_keeper_and_seven_accounts(devnet: Devnet) -> None:
    guard = devnet.deployment.guard
    assert decode_words(["address"], devnet.node.call(guard, encode_call("owner()")))[0] == OWNER.address.lower()
    assert decode_words(["address"], devnet.node.call(guard, encode_call("keeper()")))[0] == KEEPER.address.lower()
    assert decode_words(["uint256"], devnet.node.call(guard, encode_call("accountCount()"))) == (7,)


def test_the_guards_permissions_are_finite(devnet: Devnet) -> None:
    weth, guard = devnet.deployment.tokens["WETH"], devnet.deployment.guard
    allowance = devnet.node.call(weth, encode_call("allowance(address,address)", OWNER.address, guard))
    assert decode_words(["uint256"], allowance) == (2_000_000_000_000_000_000,)
    for holder, expected in ((OWNER, True), (UNPROTECTED, False)):
        answer = devnet.node.call(
            devnet.deployment.morpho, encode_call("isAuthorized(address,address)", holder.address, guard)
        )
        assert decode_words(["bool"], answer) == (expected,)


def test_keeper_toml_is_one_that_the_keeper_accepts(devnet: Devnet) -> None:
    config = load_config(devnet.config)
    assert [endpoint.reveal() for endpoint in config.chain.rpc_url] == [devnet.url]
    assert config.guard.address == devnet.deployment.guard
    assert config.signer is not None
    assert config.signer.password.reveal() != ""


@pytest.mark.parametrize("name", ["keeper.toml", "keystore.json", "password"])
def test_the_keepers_files_are_readable_by_their_owner_alone(devnet: Devnet, name: str) -> None:
    assert stat.S_IMODE((devnet.folder / name).stat().st_mode) == 0o600


def test_a_start_forgets_what_a_keeper_remembered_of_an_earlier_chain(tmp_path: Path) -> None:
    names = ("keeper.sqlite", "keeper.sqlite-wal", "keeper.sqlite.lock", "keeper.sock", "keeper.pause")
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "notes.txt").touch()
    with devnets.running(tmp_path):
        assert not [name for name in names if (tmp_path / name).exists()]
        assert (tmp_path / "notes.txt").exists()


# Prices, time, blocks -------------------------------------------------------------------------------------------------


def test_a_price_holds_at_once_and_moves_healths(devnet: Devnet) -> None:
    assert devnet.chain.set_price("WETH", "-20%") == 200_000_000_000
    position = devnet.chain.observe().positions[OWNER.address]["WETH/USDC 86%"]
    assert position.is_liquidatable
    assert position.health == pytest.approx(975_886_524_000_000_000, rel=1e-4)


def test_what_one_test_does_the_next_does_not_see(devnet: Devnet) -> None:
    """Runs after the one above, on the same chain."""
    assert devnet.chain.price("WETH") == 250_000_000_000


@pytest.mark.parametrize("turn", [1, 2])
def test_time_and_the_pool_are_undone_as_well(devnet: Devnet, turn: int) -> None:
    before = devnet.node.timestamp()
    devnet.chain.warp(86_400)
    assert 86_400 <= devnet.node.timestamp() - before < 86_460
    devnet.node.set_automine(False)
    devnet.node.send(STRANGER.address, STRANGER.address, b"")
    assert devnet.node.request("txpool_status")["pending"] == "0x1", turn


def test_blocks_are_mined_on_request(devnet: Devnet) -> None:
    before = devnet.node.block_number()
    devnet.chain.mine(5)
    assert devnet.node.block_number() == before + 5


def test_only_the_deployer_sets_prices(devnet: Devnet) -> None:
    with pytest.raises(NodeError):
        devnet.chain.send(STRANGER, devnet.deployment.feeds["ETH/USD"], "setAnswer(int256)", 1)


def test_an_oracle_reverts_on_a_negative_answer(devnet: Devnet) -> None:
    devnet.chain.set_round("WETH", -1, devnet.node.timestamp())
    with pytest.raises(NodeError):
        devnet.node.call(devnet.deployment.markets["WETH/USDC 86%"].oracle, encode_call("price()"))


def test_a_feed_keeps_its_rounds(devnet: Devnet) -> None:
    feed = devnet.deployment.feeds["ETH/USD"]
    (latest,) = decode_words(["uint80"], devnet.node.call(feed, encode_call("latestRound()")))
    devnet.chain.set_price("WETH", 2_400)
    round = devnet.node.call(feed, encode_call("getRoundData(uint80)", latest))
    assert decode_words(["uint80", "int256"], round[:64]) == (latest, 250_000_000_000)


@pytest.mark.parametrize(
    ("wish", "answer"),
    [("2500", 250_000_000_000), ("2_500.5", 250_050_000_000), ("-12%", 220_000_000_000), ("+0.1%", 250_250_000_000)],
)
def test_a_price_is_absolute_or_relative(wish: str, answer: int) -> None:
    assert new_answer(wish, latest=250_000_000_000, decimals=8) == answer


@pytest.mark.parametrize("wish", ["much", "", "NaN", "-100%", "0", "-5"])
def test_a_price_that_makes_no_sense_is_refused(wish: str) -> None:
    with pytest.raises(WishError):
        new_answer(wish, latest=250_000_000_000, decimals=8)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("1h", 3_600), ("2d", 172_800), ("7", 7)])
def test_a_duration_has_a_unit(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "-1h", "1 year", "1.5h"])
def test_a_duration_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(WishError):
        parse_duration(text)


# Several at once, and from the shell ----------------------------------------------------------------------------------


def test_two_chains_do_not_disturb_each_other(devnet: Devnet, fresh_devnet: Devnet) -> None:
    assert devnet.url != fresh_devnet.url
    fresh_devnet.chain.set_price("WETH", 1_000)
    assert devnet.chain.price("WETH") == 250_000_000_000
    assert devnets.find(fresh_devnet.folder).url == fresh_devnet.url


class DeployedAgainError(Exception):
    """The world was built although a saved one was expected."""


def refuse_to_deploy(_node: Node) -> Deployment:
    raise DeployedAgainError


def test_a_second_start_loads_what_the_first_one_deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devnets, "STATE_CACHE", tmp_path / "cache")
    with devnets.running(tmp_path / "first") as first:
        healths = [position.health for position in first.chain.observe().positions[OWNER.address].values()]
    monkeypatch.setattr(deploy, "deploy", refuse_to_deploy)
    with devnets.running(tmp_path / "second") as second:
        assert second.deployment == first.deployment
        assert second.node.logs([second.deployment.morpho], [liquidator.BORROW])
        loaded = [position.health for position in second.chain.observe().positions[OWNER.address].values()]
        assert loaded == pytest.approx(healths, rel=1e-6)


def test_an_old_state_is_made_anew_because_interest_ran_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devnets, "STATE_CACHE", tmp_path / "cache")
    with devnets.running(tmp_path / "first"):
        (record,) = (tmp_path / "cache").glob("*/deployment.json")
    old = record.stat().st_mtime - devnets.STATE_AGE_SECONDS_MAX - 1
    os.utime(record, (old, old))
    monkeypatch.setattr(deploy, "deploy", refuse_to_deploy)
    with pytest.raises(DeployedAgainError), devnets.running(tmp_path / "second"):
        pass


def test_a_start_that_fails_leaves_nothing_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devnets, "STATE_CACHE", tmp_path / "cache")
    monkeypatch.setattr(deploy, "deploy", refuse_to_deploy)
    with pytest.raises(DeployedAgainError), devnets.running(tmp_path):
        pass
    port = re.search(r"Listening on 127\.0\.0\.1:(\d+)", (tmp_path / "anvil.log").read_text())
    assert port is not None
    assert not anvil.answers(f"http://127.0.0.1:{port[1]}")


def test_a_chain_that_ended_is_not_found(tmp_path: Path) -> None:
    with devnets.running(tmp_path) as gone:
        assert devnets.find(tmp_path).pid == gone.process.pid
    assert not gone.process.is_running()
    with pytest.raises(NotRunningError, match="no local chain runs in"):
        devnets.find(tmp_path)


def shell(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.localchain.shell", *arguments, "--state-dir", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


def test_the_shell_starts_turns_and_stops_a_chain(tmp_path: Path) -> None:
    assert shell(tmp_path, "up", "--detach", "--port", "0", "--block-time", "0").returncode == 0
    try:
        assert "2,500.0000 → 2,200.0000 (-12.00 %)" in shell(tmp_path, "price", "WETH", "-12%").stdout
        assert shell(tmp_path, "warp", "1h").returncode == 0
        assert shell(tmp_path, "mine", "3").returncode == 0
        status = shell(tmp_path, "status").stdout
        assert "2,200.0000" in status
        assert json.loads((tmp_path / "devnet.json").read_text())["deployment"]["guard"] in status
        second = shell(tmp_path, "up", "--detach")
        assert (second.returncode, second.stderr.count("\n")) == (1, 1)
    finally:
        assert shell(tmp_path, "down").returncode == 0
    gone = shell(tmp_path, "status")
    assert gone.returncode == 1
    assert gone.stderr == f"devnet: no local chain runs in {tmp_path}; start one with scripts/devnet up --detach.\n"


def test_the_deployer_lends_and_holds_what_was_borrowed(devnet: Devnet) -> None:
    usdc = devnet.deployment.tokens["USDC"]
    (balance,) = decode_words(["uint256"], devnet.node.call(usdc, encode_call("balanceOf(address)", DEPLOYER.address)))
    assert balance == 2 * (35_250 + 42_640 + 36_000) * 10**6
