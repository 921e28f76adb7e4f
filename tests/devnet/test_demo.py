"""The whole demo as somebody runs it: a real chain, the real daemon in a process of its own, and a crash."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from scripts.localchain import anvil, devnet
from scripts.localchain.anvil import ROOT

pytestmark = pytest.mark.devnet

COMMAND = [sys.executable, "-m", "scripts.localchain.demo"]


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    finished = demo("--seed", "2", "--json", "--block-time", "0.5")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


def test_the_protected_wallet_is_never_liquidated(result: dict[str, Any]) -> None:
    protected = result["protected"]
    assert protected["liquidations"] == protected["block_ends_liquidatable"] == 0
    assert protected["collateral_seized"] == {}
    assert protected["loss_usd"] == 0
    assert protected["lowest_health_at_block_end"] > 1


def test_the_other_one_is_at_least_twice(result: dict[str, Any]) -> None:
    unprotected = result["unprotected"]
    assert unprotected["liquidations"] >= 2
    assert unprotected["collateral_seized"]["WETH"] > 20
    assert unprotected["loss_usd"] > 3_000


def test_both_began_alike(result: dict[str, Any]) -> None:
    assert result["protected"]["equity_before_usd"] == result["unprotected"]["equity_before_usd"]
    assert result["protected"]["equity_after_usd"] > result["unprotected"]["equity_after_usd"] + 3_000


def test_no_rescue_hurt_its_donors_and_one_was_funded_by_a_donor_with_debt(result: dict[str, Any]) -> None:
    keeper = result["keeper"]
    assert keeper["rescues"] >= 3
    assert keeper["rescues_from_donors_with_debt"] >= 1
    assert keeper["donors_left_below_last_stand"] == 0


def test_all_collateral_is_accounted_for(result: dict[str, Any]) -> None:
    for wallet in ("protected", "unprotected"):
        assert result[wallet]["collateral_missing_raw"] == {"WETH": 0, "WBTC": 0, "wstETH": 0}


def test_the_keepers_costs_are_told(result: dict[str, Any]) -> None:
    keeper = result["keeper"]
    assert keeper["transactions"] >= 1
    assert keeper["gas_used"] > 150_000 * keeper["transactions"]
    assert 0 < keeper["gas_cost_usd"] < 100
    assert 1 <= keeper["blocks_to_inclusion"]["median"] <= keeper["blocks_to_inclusion"]["max"]


def test_keep_leaves_chain_and_keeper_running_and_says_how_to_end_them(tmp_path: Path) -> None:
    finished = demo("--keep", "--block-time", "0.2", "--state-dir", str(tmp_path))
    assert finished.returncode == 0, finished.stdout + finished.stderr
    record = devnet.find(tmp_path)
    last = finished.stdout.splitlines()[-1].strip()
    keeper = int(last.removeprefix("kill ").split(";")[0])
    try:
        assert last == f"kill {keeper}; scripts/devnet down --state-dir {tmp_path}"
        os.kill(keeper, 0)
        again = demo("--state-dir", str(tmp_path))
        assert (again.returncode, again.stderr.count("\n")) == (1, 1)
        assert "a chain still runs in" in again.stderr
    finally:
        os.kill(keeper, signal.SIGTERM)
        anvil.stop_pid(record.pid)


def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    running = subprocess.Popen(
        [*COMMAND, "--state-dir", str(tmp_path)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    while not (tmp_path / "keeper.log").exists() and time.monotonic() < deadline:
        assert running.poll() is None
    chain = json.loads((tmp_path / "devnet.json").read_text())
    running.send_signal(signal.SIGTERM)
    _, errors = running.communicate(timeout=30)
    assert (running.returncode, errors) == (130, "demo: interrupted; nothing was left running.\n")
    assert not anvil.answers(chain["url"])
    assert (
        str(tmp_path)
        not in subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    )


@pytest.mark.parametrize("seconds", ["0", "61", "fast"])
def test_a_block_time_that_makes_no_sense_is_refused(seconds: str) -> None:
    assert demo("--block-time", seconds).returncode == 2
