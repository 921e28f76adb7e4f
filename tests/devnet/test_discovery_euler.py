"""Sub-accounts are found on a running chain, on our stand-in for Euler v2: by what it lists, and by its logs."""

import re
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from keeper.config import load_config
from keeper.core.snapshot import SubaccountId
from keeper.core.verdict import NotProtected
from keeper.lookout import Lookout
from keeper.opening import open_keeper
from scripts.localchain import euler
from scripts.localchain.devnet import Devnet
from scripts.localchain.euler import EulerDeployment
from scripts.localchain.world import OWNER, STRANGER
from tests.commands.shell import keeper
from tests.fakes import FakeClock

pytestmark = pytest.mark.devnet


@pytest.fixture
def deployed(devnet: Devnet) -> EulerDeployment:
    """Sub-account 1 has 20 WETH against 32,000 USDC; number 3 has 4 wstETH, enabled nowhere."""
    node = devnet.node
    node.set_next_timestamp(max(int(time.time()), node.timestamp() + 1))
    found = euler.deploy(node, devnet.deployment.tokens, devnet.deployment.feeds)
    euler.deposit(node, found, OWNER, 1, "WETH", 20 * 10**18)
    euler.borrow(node, found, OWNER, 1, "USDC", 32_000 * 10**6, ("WETH",))
    euler.deposit(node, found, OWNER, 3, "wstETH", 4 * 10**18)
    return found


def listing(devnet: Devnet, deployed: EulerDeployment, *symbols: str) -> Path:
    """keeper.toml of the protected wallet with its sub-accounts, as far as these vaults go."""
    vaults = ", ".join(f'"{deployed.vaults[symbol]}"' for symbol in symbols)
    section = f'[[protocols]]\nkind = "euler_v2"\nevc = "{deployed.evc}"\nvaults = [{vaults}]\n\n'
    path = devnet.config.with_name("euler.toml")
    path.write_text(devnet.config.read_text().replace("[[protocols]]", f"{section}[[protocols]]", 1))
    return path


def test_init_finds_sub_accounts_and_shares_that_are_not_enabled_and_the_file_is_taken(
    devnet: Devnet, deployed: EulerDeployment, tmp_path: Path
) -> None:
    path = tmp_path / "keeper.toml"
    where = f"--owner {OWNER.address} --rpc-url {devnet.url} --output {path}"
    ran = keeper(f"init {where} --discover --evc {deployed.evc}")
    assert ran.code == 0, ran.err
    assert re.search(r"euler 1 WETH/USDC \(euler:1\): 20 WETH, owes 32,000 USDC, health 1\.32", ran.out)
    assert "euler 3 wstETH (euler:3): 4 wstETH, no debt" in ran.out
    text = path.read_text()
    assert f'evc = "{deployed.evc.lower()}"' in text
    vaults = text.partition("vaults = [")[2].partition("]")[0]
    assert [line.rpartition("# ")[2] for line in vaults.strip().splitlines()] == ["eWETH", "eUSDC", "ewstETH"]
    shown = keeper("status --json", config=path).document
    assert {each["id"] for each in shown["subaccounts"]} == {"euler:1", "euler:3", "wallet"}
    assert shown["not_in_configuration"] == []


def test_what_is_no_connector_and_what_is_no_vault_is_refused(
    devnet: Devnet, deployed: EulerDeployment, tmp_path: Path
) -> None:
    where = f"--owner {OWNER.address} --rpc-url {devnet.url} --output {tmp_path / 'keeper.toml'}"
    ran = keeper(f"init {where} --discover --evc {STRANGER.address}")
    assert (ran.code, ran.error) == (
        2,
        f"There is no connector of Euler at {STRANGER.address.lower()} on chain 31337; name its address with --evc.",
    )
    ran = keeper(f"init {where} --euler-vault {deployed.vaults['WETH']}")
    assert ran.error == "No connector of Euler is known on chain 31337; name its address with --evc."
    weth = deployed.tokens["WETH"].lower()
    ran = keeper(f"init {where} --evc {deployed.evc} --euler-vault {weth}")
    assert ran.error == f"{weth} is not an Euler vault: it knows no EVC; correct or remove it."


def test_status_reports_shares_in_a_vault_that_is_not_listed(devnet: Devnet, deployed: EulerDeployment) -> None:
    config = listing(devnet, deployed, "WETH")
    euler.deposit(devnet.node, deployed, OWNER, 1, "wstETH", 10**18)
    document = keeper("status --json", config=config).document
    assert [each["id"] for each in document["not_in_configuration"]] == ["euler:3"]
    out = keeper("status", config=config).out
    vault = deployed.vaults["wstETH"].lower()
    assert (
        "euler 3 wstETH (euler:3) is not protected: not in the guard; let the vaults of [[protocols]] kind = "
        f'"euler_v2" name {vault} (`keeper init --discover` writes such a section) and send what `keeper setup` lists'
    ) in out
    assert f"euler 1 has shares of {vault}, which keeper.toml does not name: add it to the vaults of" in out


async def test_the_daemon_finds_a_sub_account_that_came_up_since(devnet: Devnet, deployed: EulerDeployment) -> None:
    config = listing(devnet, deployed, "WETH", "wstETH")
    async with open_keeper(load_config(config), is_dry_run=True) as running:
        lookout = Lookout(running, FakeClock())
        euler.deposit(devnet.node, deployed, OWNER, 7, "WETH", 10**18)
        euler.borrow(devnet.node, deployed, OWNER, 7, "USDC", 1_000 * 10**6, ("WETH",))
        with capture_logs() as logs:
            found = await lookout.look()
        assert [str(each.id) for each in found.positions] == ["euler:7"]
        assert [entry["subject"] for entry in logs if entry.get("alarm") == "not_protected"] == ["euler:7"]
        report = await running.cycle(await running.session.rpc.head())
        assert isinstance(report.plan.verdicts[SubaccountId("euler", "7")], NotProtected)
        assert (await lookout.look()).positions == ()
