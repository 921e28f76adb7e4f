"""The dress rehearsal as somebody runs it, on a fork of the local chain, of a wallet that has no guard yet."""

import json
import shutil
import signal
import subprocess
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from scripts.localchain import aave
from scripts.localchain.anvil import ROOT, stop_pid
from scripts.localchain.devnet import Devnet, running
from scripts.localchain.world import LIQUIDATOR, STRANGER, UNPROTECTED
from scripts.rehearsal.falls import Falls
from tests.commands.shell import keeper
from tests.devnet.rehearsing import COMMAND, by_label, fork

pytestmark = pytest.mark.devnet

WAD = 10**18


def forks_of(url: str) -> list[str]:
    """The command lines of processes that fork this chain, told by their environments."""
    lines: list[str] = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if "--fork-url" in line and url.encode() in (place / "environ").read_bytes():
                lines.append(line)
        except OSError:
            continue  # it ended meanwhile, or is somebody else's
    return lines


# A wallet with positions on Morpho and Aave ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Generator[Devnet]:
    """With an account of the unprotected wallet on Aave too: 10 wstETH and 0.1 WBTC against 23,000 USDC."""
    with running(tmp_path_factory.mktemp("live")) as devnet:
        aave.open_account(
            devnet.node,
            devnet.deployment.aave,
            UNPROTECTED,
            {"wstETH": 10 * 10**18, "WBTC": 10**7},
            {"USDC": 23_000 * 10**6},
        )
        yield devnet


@pytest.fixture(scope="module")
def result(chain: Devnet) -> dict[str, Any]:
    finished = fork(
        UNPROTECTED.address,
        *("--morpho", chain.deployment.morpho, "--aave-pool", chain.deployment.aave.pool),
        *("--fall", "WETH=-30%,WBTC=-20%", "--steps", "6", "--json"),
        url=chain.url,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return json.loads(finished.stdout)


def test_a_crash_that_liquidates_without_the_keeper_liquidates_nobody_with_it(result: dict[str, Any]) -> None:
    without, kept = result["without_keeper"], result["with_keeper"]
    assert without["liquidated_accounts"] >= 3
    assert int(without["lost_usd_wad"]) > 3_000 * WAD
    assert kept["liquidated_accounts"] == 0
    assert kept["lost_usd_wad"] == "0"
    assert all(int(account["health_lowest_wad"]) > WAD for account in kept["accounts"])
    assert result["not_simulated"] == []


def test_both_begin_alike_and_cover_both_protocols(result: dict[str, Any]) -> None:
    without, kept = by_label(result["without_keeper"]), by_label(result["with_keeper"])
    assert list(without) == list(kept)
    assert {account["id"].partition(":")[0] for account in kept.values()} == {"morpho", "aave"}
    for label, account in without.items():
        assert int(kept[label]["health_start_wad"]) == pytest.approx(int(account["health_start_wad"]), rel=1e-6)


def test_every_liquidation_is_told_with_its_fall_and_what_it_took(result: dict[str, Any]) -> None:
    losses = [loss for account in result["without_keeper"]["accounts"] for loss in account["liquidations"]]
    for loss in losses:
        assert loss["changes_bps"] == {"WETH": -500 * loss["step"], "WBTC": -2_000 * loss["step"] // 6}
        assert sum(map(int, loss["seized_raw"].values())) > 0
        assert 0 < int(loss["lost_usd_wad"]) < int(loss["seized_usd_wad"])


def test_the_account_on_aave_falls_with_the_feed_that_its_token_is_built_on(result: dict[str, Any]) -> None:
    assert result["falls_with"]["wstETH"] == "WETH"
    assert {"ETH/USD", "BTC/USD"} == set(result["scaled_feeds"])
    assert result["scaled_oracles"] == []
    (account,) = (each for each in result["without_keeper"]["accounts"] if each["id"].startswith("aave:"))
    assert account["liquidations"]
    correlated = by_label(result["without_keeper"])["wstETH/WETH 94.5%"]
    assert int(correlated["health_lowest_wad"]) == pytest.approx(int(correlated["health_start_wad"]), rel=1e-4)


def test_what_the_keeper_did_and_what_it_cost_is_told(result: dict[str, Any]) -> None:
    kept = result["with_keeper"]
    rescued = [step for account in kept["accounts"] for step in account["rescued_at_steps"]]
    assert len(rescued) == kept["rescues"] >= 3
    assert kept["transactions_reverted"] == 0
    assert kept["gas_used"] > 150_000 * kept["transactions"]
    assert 0 < int(kept["gas_usd_wad"]) < 100 * WAD
    assert result["without_keeper"]["transactions"] == 0
    assert "with it nobody is liquidated" in result["conclusion"]


def test_the_owner_sees_all_that_he_would_have_to_sign(result: dict[str, Any]) -> None:
    assert result["granted"][0].startswith("Deploys the guard of 0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc at 0x")
    assert any(sentence.startswith("Authorises the guard on Morpho") for sentence in result["granted"])
    assert any("from this Aave account" in sentence for sentence in result["granted"])


def test_the_live_chain_is_untouched_and_no_process_is_left(chain: Devnet, result: dict[str, Any]) -> None:
    assert result["block"] == chain.node.block_number()
    guard = result["granted"][0].split(" at ")[1].split(";")[0]
    assert chain.node.code(guard) == b""
    assert forks_of(chain.url) == []


# Oracles that say little, owners that are contracts -------------------------------------------------------------------


def answering(price: int) -> bytes:
    """Code of an oracle that knows `price()` and nothing else."""
    is_asked = bytes.fromhex("5f3560e01c63a035b1fe14601357" + "5f5ffd" + "0000" + "5b")
    return is_asked + b"\x7f" + price.to_bytes(32) + bytes.fromhex("5f5260205ff3")


def test_an_oracle_that_names_no_feed_is_scaled_itself_and_one_that_fails_is_said(devnet: Devnet) -> None:
    markets = devnet.deployment.markets
    devnet.node.set_code(markets["WETH/DAI 77%"].oracle, answering(2_500 * 10**36))
    devnet.node.set_code(markets["WBTC/USDC 86%"].oracle, bytes.fromhex("5f5ffd"))
    devnet.node.set_code(UNPROTECTED.address, b"\x00")
    finished = fork(
        UNPROTECTED.address, "--morpho", devnet.deployment.morpho, "--fall", "WETH=-26%", "--steps", "2", "--json",
        url=devnet.url,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout + finished.stderr
    result = json.loads(finished.stdout)
    assert result["owner_is_contract"]
    assert "`keeper setup --form safe`" in finished.stderr
    assert len(result["scaled_oracles"]) == 1
    assert result["scaled_oracles"][0].startswith("WETH/DAI at 0x")
    blind = by_label(result["without_keeper"])["WETH/DAI 77%"]
    assert [loss["step"] for loss in blind["liquidations"]] == [2]
    assert int(blind["health_lowest_wad"]) == pytest.approx(0.74 * int(blind["health_start_wad"]), rel=1e-4)
    assert any("WBTC/USDC 86%" in sentence and "cannot be read" in sentence for sentence in result["not_simulated"])
    assert not by_label(result["without_keeper"])["WBTC/USDC 86%"]["is_known"]


def test_without_a_wish_all_volatile_collateral_falls_and_what_is_built_on_it_follows(
    devnet: Devnet,
) -> None:
    aave.open_account(
        devnet.node, devnet.deployment.aave, STRANGER, {"wstETH": 10 * 10**18}, {"USDC": 18_000 * 10**6}
    )  # fmt: skip
    finished = fork(
        STRANGER.address, "--aave-pool", devnet.deployment.aave.pool, "--steps", "1", "--json", url=devnet.url
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout + finished.stderr
    result = json.loads(finished.stdout)
    assert result["falls_bps"] == {"ETH": -3_000}
    assert result["falls_with"] == {"wstETH": "ETH"}
    # Alone it has nobody who could give.
    assert result["with_keeper"]["liquidated_accounts"] == result["without_keeper"]["liquidated_accounts"] == 1
    assert result["with_keeper"]["rescues"] == 0


def test_another_holders_account_is_kept_too_and_the_fork_stays_to_look_around(devnet: Devnet) -> None:
    aave.supply(devnet.node, devnet.deployment.aave, STRANGER, "wstETH", 10**18)
    finished = fork(
        UNPROTECTED.address,
        *("--morpho", devnet.deployment.morpho, "--aave-pool", devnet.deployment.aave.pool),
        *("--account", STRANGER.address, "--fall", "WETH=-10%", "--steps", "1", "--keep"),
        url=devnet.url,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    status, *_, ends = (line.strip() for line in finished.stdout.splitlines()[-4:])
    pid, folder = ends.removeprefix("kill ").split("; rm -r ")
    try:
        assert f"Has {STRANGER.address.lower()} join the guard" in finished.stdout
        shown = keeper("status --json", config=Path(status.split("--config ")[1])).document
        stranger = next(each for each in shown["subaccounts"] if each["id"] == f"aave:{STRANGER.address.lower()}")
        assert stranger["verdict"] != "NotProtected"
        assert len(forks_of(devnet.url)) == 1
    finally:
        stop_pid(int(pid))
        shutil.rmtree(folder)
    assert forks_of(devnet.url) == []


# What cannot be rehearsed ---------------------------------------------------------------------------------------------


def refused(*arguments: str, url: str | None) -> tuple[int, str]:
    """Exit code and the one sentence."""
    finished = fork(*arguments, url=url)
    *before, sentence = finished.stderr.splitlines()
    assert not any("Traceback" in line for line in before), finished.stderr
    return finished.returncode, sentence


def test_without_a_node_nothing_is_done() -> None:
    code, says = refused(UNPROTECTED.address, url=None)
    assert (code, says) == (2, "fork: No node is named: set ETH_RPC_URL, or use --rpc-url.")


def test_a_wrong_address_is_named() -> None:
    code, says = refused("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293Bd", url="http://127.0.0.1:1")
    assert code == 2
    assert "wrong checksum" in says


def test_a_node_that_is_not_there_is_named() -> None:
    code, says = refused(UNPROTECTED.address, url="http://127.0.0.1:1")
    assert code == 1
    assert "127.0.0.1:1" in says


class KnowsItsChainAlone(BaseHTTPRequestHandler):
    """A node that answers `eth_chainId` and refuses all else."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": asked["id"]}
        if asked["method"] == "eth_chainId":
            answer["result"] = "0x1"
        else:
            answer["error"] = {"code": -32601, "message": "the method is not available"}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_a_node_that_refuses_to_be_forked_is_named_without_its_key() -> None:
    with HTTPServer(("127.0.0.1", 0), KnowsItsChainAlone) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/a-secret-key"
        code, says = refused(UNPROTECTED.address, url=url)
        server.shutdown()
    assert code == 1
    assert "could not be forked" in says
    assert "a-secret-key" not in says
    assert forks_of(url) == []


def test_a_wallet_without_positions_has_nothing_to_rehearse(chain: Devnet) -> None:
    code, says = refused(LIQUIDATOR.address, "--morpho", chain.deployment.morpho, url=chain.url)
    assert code == 2
    assert LIQUIDATOR.address.lower() in says
    code, says = refused(STRANGER.address, url=chain.url)
    assert code == 2
    assert "name its address with --morpho" in says
    assert forks_of(chain.url) == []


def test_a_fall_of_what_nobody_holds_is_refused(chain: Devnet) -> None:
    arguments = (UNPROTECTED.address, "--morpho", chain.deployment.morpho)
    code, says = refused(*arguments, "--fall", "LINK=-30%", url=chain.url)
    assert code == 2
    assert says.startswith("fork: --fall names LINK, which no account here holds or owes; there are ")
    code, says = refused(*arguments, "--fall", "WETH=-100%", url=chain.url)
    assert (code, says) == (2, "fork: --fall 'WETH=-100%': a price cannot fall by 100 % or more.")


@pytest.mark.parametrize("steps", ["0", "101", "many"])
def test_a_number_of_steps_that_makes_no_sense_is_refused(steps: str) -> None:
    assert fork(UNPROTECTED.address, "--steps", steps, url=None).returncode == 2


def test_an_interrupted_rehearsal_leaves_nothing_behind(chain: Devnet) -> None:
    arguments = [UNPROTECTED.address, "--rpc-url", chain.url, "--morpho", chain.deployment.morpho, "--json"]
    rehearsal = subprocess.Popen(
        [*COMMAND, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert rehearsal.stderr is not None
    assert "Forked chain 31337" in rehearsal.stderr.readline()
    (command,) = forks_of(chain.url)
    # Everybody can read a command line, and a URL may hold a key.
    assert chain.url not in command
    rehearsal.send_signal(signal.SIGTERM)
    _, errors = rehearsal.communicate(timeout=60)
    assert rehearsal.returncode == 130
    assert errors.splitlines()[-1] == "fork: interrupted; nothing was left running."
    assert forks_of(chain.url) == []


# What moves with what -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "factor"),
    [
        ("WETH", 700_000_000_000_000_000),
        ("ETH", 700_000_000_000_000_000),
        ("wstETH", 700_000_000_000_000_000),
        ("cbETH", 500_000_000_000_000_000),
        ("cbBTC", 800_000_000_000_000_000),
        ("USD", 1_000_000_000_000_000_000),
        ("USDC", 1_000_000_000_000_000_000),
    ],
)
def test_a_token_moves_with_what_it_is_built_on_unless_it_is_named(symbol: str, factor: int) -> None:
    falls = Falls({"WETH": -3_000, "cbETH": -5_000, "BTC": -2_000}, steps=10)
    assert falls.factor(symbol, 10) == factor
    assert falls.factor(symbol, 0) == 1_000_000_000_000_000_000


def test_a_ratio_between_two_that_move_together_stands_still() -> None:
    falls = Falls({"WETH": -3_000}, steps=10)
    assert falls.relative("wstETH", "ETH", 10) == 1_000_000_000_000_000_000
    assert falls.relative("BTC", "ETH", 10) == 1_428_571_428_571_428_571


def test_a_crash_comes_in_equal_steps() -> None:
    falls = Falls({"WETH": -3_000}, steps=10)
    assert [falls.changes_at(step)["WETH"] for step in (0, 1, 5, 10)] == [0, -300, -1_500, -3_000]
