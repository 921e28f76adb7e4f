"""The demo of a portfolio as somebody runs it: Morpho, two Aave accounts and a wallet, the real daemon, and a crash."""

import json
import subprocess
import sys
from typing import Any

import pytest

from scripts.localchain.anvil import ROOT

pytestmark = pytest.mark.devnet

COMMAND = [sys.executable, "-m", "scripts.localchain.demo", "--portfolio", "--json"]
ACROSS, REPAID = "Morpho WETH/USDC", "Aave WBTC/DAI"


@pytest.fixture(scope="module")
def finished() -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "--seed", "2", "--block-time", "0.4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def result(finished: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return json.loads(finished.stdout.splitlines()[-1])


def test_both_accounts_that_nobody_keeps_are_liquidated(result: dict[str, Any]) -> None:
    assert result["unprotected"]["liquidated"] == [REPAID, ACROSS]
    assert result["unprotected"]["loss_usd"] > 2_000


def test_both_are_saved_and_nothing_else_suffers(result: dict[str, Any]) -> None:
    protected = result["protected"]
    assert protected["liquidations"] == protected["block_ends_liquidatable"] == 0
    assert protected["lowest_health"][ACROSS] > 1.04
    assert protected["lowest_health"][REPAID] > 1.04
    assert protected["lowest_health"]["Aave WETH/USDC"] > 1.3  # the floor of who gave
    assert protected["equity_before_usd"] == result["unprotected"]["equity_before_usd"]


def test_one_by_collateral_of_another_protocol_and_one_by_repaying(result: dict[str, Any]) -> None:
    keeper = result["keeper"]
    assert keeper["rescues_across_protocols"] == keeper["rescued"][ACROSS] >= 1
    assert keeper["rescues_by_repaying"] == keeper["rescued"][REPAID] >= 1
    assert keeper["rescued"]["Aave WETH/USDC"] == keeper["rescues_failed"] == keeper["transactions_reverted"] == 0


def test_it_is_told_as_it_happens(finished: subprocess.CompletedProcess[str]) -> None:
    lines = finished.stdout.splitlines()
    assert any("WETH from Aave WETH/USDC moved in" in line for line in lines)
    assert any("DAI from wallet repaid" in line for line in lines)
    assert any(line.startswith(f"  unprotected wallet liquidated in {ACROSS}:") for line in lines)
    assert any(line.startswith(f"  unprotected wallet liquidated in {REPAID}:") for line in lines)
    assert not any(line.startswith("  protected wallet liquidated") for line in lines)
