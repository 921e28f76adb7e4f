"""Accounts in a pool of Venus are found on a running chain: by `init` for the file, later by `status` and the daemon.

Each test deploys the pool, which no chain starts with.
"""

import re
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from keeper import unlisted
from keeper.config import load_config
from keeper.core.units import Address
from keeper.lookout import Lookout
from keeper.opening import open_keeper
from scripts.localchain import aave, venus
from scripts.localchain.devnet import Devnet
from scripts.localchain.venus import VenusDeployment
from scripts.localchain.world import OWNER, STRANGER, UNPROTECTED
from tests.commands.shell import keeper
from tests.fakes import FakeClock

pytestmark = pytest.mark.devnet


@pytest.fixture
def deployed(devnet: Devnet) -> VenusDeployment:
    """The owner has 20 WETH against 32,000 USDC, and half a WBTC in a market that it did not enter."""
    node = devnet.node
    node.set_next_timestamp(max(int(time.time()), node.timestamp() + 1))
    found = venus.deploy(node, devnet.deployment.tokens, devnet.deployment.feeds)
    venus.open_account(node, found, OWNER, {"WETH": 20 * 10**18}, {"USDC": 32_000 * 10**6})
    venus.supply(node, found, OWNER, "WBTC", 5 * 10**7)
    return found


def id_of(deployed: VenusDeployment, address: str) -> str:
    return f"venus:{deployed.comptroller.lower()}/{address.lower()}"


def listing(devnet: Devnet, deployed: VenusDeployment, *symbols: str, account: str = OWNER.address) -> Path:
    """keeper.toml of the protected wallet with an account in the pool, as far as these markets go."""
    markets = ", ".join(f'"{deployed.markets[symbol]}"' for symbol in symbols)
    section = (
        f'[[protocols]]\nkind = "venus_pool"\ncomptroller = "{deployed.comptroller}"\naccounts = ["{account}"]\n'
        f"markets = [{markets}]\n\n"
    )
    path = devnet.config.with_name("venus.toml")
    path.write_text(devnet.config.read_text().replace("[[protocols]]", f"{section}[[protocols]]", 1))
    return path


def test_init_finds_the_account_with_what_does_not_count_and_the_file_is_taken(
    devnet: Devnet, deployed: VenusDeployment, tmp_path: Path
) -> None:
    path = tmp_path / "keeper.toml"
    where = f"--owner {OWNER.address} --rpc-url {devnet.url} --output {path}"
    ran = keeper(f"init {where} --discover --venus-pool {deployed.comptroller}")
    assert ran.code == 0, ran.err
    assert re.search(
        r"venus 0x70…79C8 WETH/USDC \(venus:.*\): 20 WETH, 0\.5 WBTC, owes 32,000 USDC, health 1\.328", ran.out
    )
    text = path.read_text()
    assert f'comptroller = "{deployed.comptroller.lower()}"' in text
    markets = text.partition("markets = [")[2].partition("]")[0]
    assert [line.rpartition("# ")[2] for line in markets.strip().splitlines()] == ["vWETH", "vWBTC"]
    shown = keeper("status --json", config=path).document
    assert {each["id"] for each in shown["subaccounts"]} == {id_of(deployed, OWNER.address), "wallet"}
    assert shown["not_in_configuration"] == []
    tokens = text.partition("tokens = [")[2].partition("]")[0]
    assert [line.rpartition("# ")[2] for line in tokens.strip().splitlines()] == ["WETH", "WBTC"]


def test_another_holders_account_is_kept_when_it_is_named(
    devnet: Devnet, deployed: VenusDeployment, tmp_path: Path
) -> None:
    venus.open_account(devnet.node, deployed, UNPROTECTED, {"USDC": 4_000 * 10**6}, {})
    path = tmp_path / "keeper.toml"
    where = f"--owner {OWNER.address} --rpc-url {devnet.url} --output {path} --account {UNPROTECTED.address}"
    ran = keeper(f"init {where} --discover --venus-pool {deployed.comptroller} --json")
    assert ran.code == 0, ran.err
    assert ran.document["positions"] == [
        id_of(deployed, OWNER.address), id_of(deployed, UNPROTECTED.address), "wallet"
    ]  # fmt: skip


def test_the_other_holder_joins_and_allows_vtokens_himself(devnet: Devnet, deployed: VenusDeployment) -> None:
    venus.open_account(devnet.node, deployed, UNPROTECTED, {"USDC": 4_000 * 10**6}, {})
    config = listing(devnet, deployed, "WETH", "USDC", account=UNPROTECTED.address)
    calls = keeper("setup --json", config=config).document["of_other_holders"]
    assert [(call["from"], call["to"]) for call in calls] == [
        (UNPROTECTED.address.lower(), devnet.deployment.guard.lower()),
        (UNPROTECTED.address.lower(), deployed.markets["USDC"].lower()),
    ]
    # As many as 4,000 USDC are worth: 4,000 at first, and less with every second of interest.
    assert re.match(r"Lets the guard take at most (4,000|3,999\.9\d+) vUSDC \(vTokens\) from this", calls[1]["says"])


def test_what_is_no_pool_is_refused(devnet: Devnet, tmp_path: Path) -> None:
    where = f"--owner {OWNER.address} --rpc-url {devnet.url} --output {tmp_path / 'keeper.toml'}"
    ran = keeper(f"init {where} --venus-pool {STRANGER.address}")
    assert (ran.code, ran.error) == (
        2, f"{STRANGER.address.lower()} is not the comptroller of a Venus pool; correct its address.",
    )  # fmt: skip


def test_status_says_what_the_file_leaves_out(devnet: Devnet, deployed: VenusDeployment) -> None:
    venus.open_account(devnet.node, deployed, UNPROTECTED, {"USDC": 4_000 * 10**6}, {})
    others = listing(devnet, deployed, "WETH", account=UNPROTECTED.address)
    document = keeper("status --json", config=others).document
    assert [each["id"] for each in document["not_in_configuration"]] == [id_of(deployed, OWNER.address)]
    comptroller, owner = deployed.comptroller.lower(), OWNER.address.lower()
    assert (
        f'is not protected: not in keeper.toml; add {owner} to the accounts of [[protocols]] kind = "venus_pool" with '
        f"comptroller {comptroller} (`keeper init --discover` writes such a section) and send what `keeper setup`"
    ) in keeper("status", config=others).out
    own = listing(devnet, deployed, "WETH")
    assert keeper("status --json", config=own).document["not_in_configuration"] == []
    market = deployed.markets["WBTC"].lower()
    assert (
        f"venus 0x70…79C8 WETH/USDC has vTokens of {market}, which keeper.toml does not name: "
        'add it to the markets of [[protocols]] kind = "venus_pool" to have them given'
    ) in keeper("status", config=own).out


def test_vtokens_that_the_wallet_is_to_give_are_an_accounts_and_check_says_so(
    devnet: Devnet, deployed: VenusDeployment
) -> None:
    config = listing(devnet, deployed, "WETH")
    text = config.read_text()
    config.write_text(text.replace("tokens = [", f'tokens = ["{deployed.markets["WETH"]}", ', 1))
    checked = keeper("check --json", config=config).document["findings"]
    (finding,) = [each for each in checked if "nobody looks at what that account owes" in each["says"]]
    assert (finding["subject"], finding["grade"]) == ("wallet vWETH", "warning")
    assert finding["says"].startswith("it is what Venus keeps collateral as")


async def test_the_daemon_finds_an_account_in_any_pool_of_the_chains_registry(
    devnet: Devnet, deployed: VenusDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Address(venus.register(devnet.node, deployed).lower())
    monkeypatch.setattr(unlisted, "VENUS_REGISTRY", {31337: registry})
    async with open_keeper(load_config(devnet.config), is_dry_run=True) as running:
        lookout = Lookout(running, FakeClock())
        with capture_logs() as logs:
            found = await lookout.look()
    account = id_of(deployed, OWNER.address)
    assert [str(each.id) for each in found.positions] == [account]
    assert [entry["subject"] for entry in logs if entry.get("alarm") == "not_protected"] == [account]


def test_a_pool_that_cannot_be_kept_is_named_and_spoils_no_other_look(
    devnet: Devnet, deployed: VenusDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The market of WETH, which the owner entered, does not answer any more."""
    registry = Address(venus.register(devnet.node, deployed).lower())
    monkeypatch.setattr(unlisted, "VENUS_REGISTRY", {31337: registry})
    aave.supply(devnet.node, devnet.deployment.aave, OWNER, "WETH", 10**18)
    devnet.node.set_code(deployed.markets["WETH"], b"")
    section = f'[[protocols]]\nkind = "aave_v3"\npool = "{devnet.deployment.aave.pool}"\n'
    config = devnet.config.with_name("aave.toml")
    weth = devnet.deployment.aave.tokens["WETH"]
    text = f'{section}accounts = ["{UNPROTECTED.address}"]\nassets = ["{weth}"]\n\n[[protocols]]'
    config.write_text(devnet.config.read_text().replace("[[protocols]]", text, 1))
    document = keeper("status --json", config=config).document
    assert [each["id"] for each in document["not_in_configuration"]] == [f"aave:{OWNER.address.lower()}"]
    market = deployed.markets["WETH"].lower()
    says = f"a position that cannot be kept: the market {market} does not name its underlying"
    assert says in keeper("status", config=config).out
