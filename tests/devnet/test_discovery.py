"""Positions are found on a running chain: by `init` for the file, later by `status` and the daemon beside it."""

import re
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from keeper.config import load_config
from keeper.core.snapshot import SubaccountId
from keeper.core.verdict import Unknown
from keeper.lookout import Lookout
from keeper.opening import open_keeper
from scripts.localchain import aave
from scripts.localchain.devnet import Devnet
from scripts.localchain.world import OWNER, STRANGER, UNPROTECTED
from scripts.storms.wire import Fault, wire
from tests.commands.shell import Ran, keeper
from tests.fakes import FakeClock

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


# status ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def fewer(devnet: Devnet) -> Generator[Path]:
    """keeper.toml without the account of WETH/DAI 77% and without the wallet's WBTC."""
    text = devnet.config.read_text()
    text = re.sub(rf'    "{devnet.deployment.markets["WETH/DAI 77%"].id}".*\n', "", text)
    path = devnet.config.with_name("fewer.toml")
    path.write_text(re.sub(rf'    "{devnet.deployment.tokens["WBTC"]}".*\n', "", text))
    yield path
    path.unlink()


def test_status_reports_a_market_that_is_not_in_the_file_with_what_to_do(devnet: Devnet, fewer: Path) -> None:
    id = devnet.deployment.markets["WETH/DAI 77%"].id
    ran = keeper("status", config=fewer)
    assert ran.code == 0, ran.err
    row = next(line for line in ran.out.splitlines() if line.startswith("WETH/DAI 77%"))
    assert re.fullmatch(r"WETH/DAI 77%  +1\.29\d\d  +16 WETH  +2,500  +.*not protected", row.rstrip()), row
    assert (
        f'is not protected: not in keeper.toml; add {id} to the markets of [[protocols]] kind = "morpho_blue" and send '
        "what `keeper setup` lists"
    ) in ran.out
    document = keeper("status --json", config=fewer).document
    assert {each["id"]: each["verdict"] for each in document["subaccounts"]}[f"morpho:{id}"] == "NotProtected"
    assert [each["id"] for each in document["not_in_configuration"]] == [f"morpho:{id}"]


def test_status_names_a_token_in_the_wallet_that_positions_use(devnet: Devnet, fewer: Path) -> None:
    wbtc = devnet.deployment.tokens["WBTC"].lower()
    assert f"the wallet holds WBTC, which positions use, and keeper.toml does not name it: add {wbtc}" in (
        keeper("status", config=fewer).out
    )
    assert keeper("status --json", config=fewer).document["wallet_tokens_not_in_configuration"] == [wbtc]


def test_status_goes_on_with_the_logs_where_the_last_look_ended(devnet: Devnet, fewer: Path) -> None:
    id = devnet.deployment.markets["WETH/DAI 77%"].id
    keeper("status", config=fewer)
    seen = devnet.folder / "keeper.seen"
    assert f'"until":{devnet.node.block_number()},"found":["{id}"]' in seen.read_text()
    devnet.node.request("anvil_mine", hex(200))
    assert [each["id"] for each in keeper("status --json", config=fewer).document["not_in_configuration"]] == [
        f"morpho:{id}"
    ]


def test_status_reports_the_owners_account_in_a_pool_that_is_listed_without_it(devnet: Devnet) -> None:
    market = devnet.deployment.aave
    opens_an_account(devnet)
    aave.supply(devnet.node, market, UNPROTECTED, "WETH", 10**18)
    path = devnet.config.with_name("others.toml")
    section = (
        f'[[protocols]]\nkind = "aave_v3"\npool = "{market.pool}"\naccounts = ["{UNPROTECTED.address}"]\n'
        f'assets = ["{market.tokens["WETH"]}"]\n\n'
    )
    path.write_text(devnet.config.read_text().replace("[[protocols]]", f"{section}[[protocols]]", 1))
    out = keeper("status", config=path).out
    assert (
        f"aave 0x70…79C8 WETH+WBTC/USDC (aave:0x7099…79c8) is not protected: not in keeper.toml; add "
        f'{OWNER.address.lower()} to the accounts of [[protocols]] kind = "aave_v3"'
    ) in out


def test_nothing_is_reported_when_all_is_listed(devnet: Devnet) -> None:
    document = keeper("status --json", config=devnet.config).document
    assert document["not_in_configuration"] == []
    assert "could not be looked for" not in keeper("status", config=devnet.config).out


# The daemon -----------------------------------------------------------------------------------------------------------


def alarms(logs: list[Any], name: str) -> list[Mapping[str, Any]]:
    return [entry for entry in logs if entry.get("alarm") == name]


def through(url: str, config: Path) -> Path:
    """The same file with the node reached there."""
    config.write_text(re.sub(r'rpc_url = ".*"', f'rpc_url = "{url}"', config.read_text()))
    return config


async def test_the_daemon_tells_of_a_new_position_once_and_reads_no_more_in_a_cycle(
    devnet: Devnet, fewer: Path
) -> None:
    id = devnet.deployment.markets["WETH/DAI 77%"].id
    async with (
        wire(devnet.url) as node,
        open_keeper(load_config(through(node.url, fewer)), is_dry_run=True) as running,
    ):
        lookout = Lookout(running, FakeClock())
        with capture_logs() as logs:
            await lookout.look()
            await lookout.look()
        assert [each["subject"] for each in alarms(logs, "not_protected")] == [f"morpho:{id}"]
        assert "add " + id in alarms(logs, "not_protected")[0]["event"]
        head = await running.session.rpc.head()
        node.requests.clear()
        await running.cycle(head)
        assert node.methods == ["eth_call"]


async def test_a_node_that_refuses_its_logs_is_a_note_and_hides_nothing_else(devnet: Devnet, fewer: Path) -> None:
    async with (
        wire(devnet.url) as node,
        open_keeper(load_config(through(node.url, fewer)), is_dry_run=True) as running,
    ):
        node.inject("eth_getLogs", *[Fault.UNAUTHORISED] * 10)
        found = await Lookout(running, FakeClock()).look()
        assert found.positions == ()
        assert found.notes[0].startswith("new positions on Morpho could not be looked for: ")
        assert found.tokens == (devnet.deployment.tokens["WBTC"].lower(),)


async def test_an_account_that_uses_another_asset_is_judged_again_after_the_daemons_next_look(devnet: Devnet) -> None:
    market = devnet.deployment.aave
    opens_an_account(devnet)
    path = devnet.config.with_name("aave.toml")
    section = f'[[protocols]]\nkind = "aave_v3"\npool = "{market.pool}"\nassets = ["{market.tokens["WETH"]}"]\n\n'
    path.write_text(devnet.config.read_text().replace("[[protocols]]", f"{section}[[protocols]]", 1))
    async with open_keeper(load_config(path), is_dry_run=True) as running:
        account = SubaccountId.parse(ACCOUNT)
        aave.supply(devnet.node, market, OWNER, "DAI", 500 * 10**18)
        report = await running.cycle(await running.session.rpc.head())
        assert report.plan.verdicts[account] == Unknown(
            "aave 0x70…79C8 WETH+WBTC/USDC uses an asset that it did not use when the keeper started; the daemon finds "
            "out anew within a minute or two"
        )
        assert running.keeper.is_outdated
        await Lookout(running, FakeClock()).find_out_anew()
        assert not running.keeper.is_outdated
        report = await running.cycle(await running.session.rpc.head())
        assert not isinstance(report.plan.verdicts[account], Unknown)
        held = {line.token.symbol: line.amount_raw for line in report.snapshot.subaccount(account).collateral}
        assert 500 * 10**18 - held["DAI"] <= 1, "a wei of a supply stays with the pool"
