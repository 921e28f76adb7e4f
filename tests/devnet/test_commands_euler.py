"""The commands for a wallet with Euler sub-accounts, on our stand-in for Euler v2: from `setup` to a rescue."""

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from keeper.config import load_config
from keeper.core.returning import Return, Returning
from keeper.core.snapshot import Snapshot, SubaccountId
from keeper.return_calls import by_hand_sentences, return_calls
from keeper.session import open_session
from scripts.localchain import euler
from scripts.localchain.abi import decode_words, encode_call
from scripts.localchain.devnet import Devnet
from scripts.localchain.euler import EulerDeployment
from scripts.localchain.node import NodeError
from scripts.localchain.transact import send_as
from scripts.localchain.world import DEPLOYER, OWNER
from tests.commands.shell import keeper, keeper_process

pytestmark = pytest.mark.devnet


@pytest.fixture
def deployed(devnet: Devnet) -> EulerDeployment:
    """Sub-account 1 has 20 WETH against 32,000 USDC (health 1.328), number 3 has 4 WETH and owes nothing."""
    node = devnet.node
    node.set_next_timestamp(max(int(time.time()), node.timestamp() + 1))
    found = euler.deploy(node, devnet.deployment.tokens, devnet.deployment.feeds)
    euler.deposit(node, found, OWNER, 1, "WETH", 20 * 10**18)
    euler.borrow(node, found, OWNER, 1, "USDC", 32_000 * 10**6, ("WETH",))
    euler.deposit(node, found, OWNER, 3, "WETH", 4 * 10**18)
    return found


@pytest.fixture
def config(devnet: Devnet, deployed: EulerDeployment) -> Path:
    """keeper.toml of the protected wallet with its sub-accounts."""
    vaults = ", ".join(f'"{vault}"' for vault in deployed.vaults.values())
    section = f'[[protocols]]\nkind = "euler_v2"\nevc = "{deployed.evc}"\nvaults = [{vaults}]\n\n'
    path = devnet.config.with_name("euler.toml")
    path.write_text(devnet.config.read_text().replace("[[protocols]]", f"{section}[[protocols]]", 1))
    return path


@pytest.fixture
def protected(config: Path) -> Path:
    """The same, after the owner sent what `setup` asks for."""
    ran = keeper("setup --send --impersonate", config=config)
    assert ran.code == 0, ran.err
    return config


def allowance(devnet: Devnet, deployed: EulerDeployment, number: int) -> int:
    """Shares of eWETH that the guard may take."""
    data = encode_call(
        "allowance(address,address)", euler.sub_account(OWNER, number), devnet.deployment.guard
    )  # fmt: skip
    return decode_words(["uint256"], devnet.node.call(deployed.vaults["WETH"], data))[0]


def test_a_sub_account_is_shown_with_where_its_numbers_come_from(deployed: EulerDeployment, config: Path) -> None:
    ran = keeper("explain euler:1", config=config)
    assert ran.code == 0, ran.err
    assert "at 2,500 USD each, of which 85 % counts." in ran.out
    assert "= health 1.3281." in ran.out
    assert "prices: fresh" in ran.out
    one = euler.sub_account(OWNER, 1)
    assert f"values at the liquidation LTV: {deployed.vaults['USDC'].lower()} accountLiquidity({one}, true)" in ran.out


def test_the_owner_enrols_them_and_allows_shares_through_the_connector(
    devnet: Devnet, deployed: EulerDeployment, config: Path
) -> None:
    calls = keeper("setup --json", config=config).document["transactions"]
    assert [call["to"] for call in calls] == [devnet.deployment.guard.lower(), *[deployed.evc.lower()] * 2]
    enrols, *allows = (call["says"] for call in calls)
    assert enrols.startswith("Enrols euler 1 WETH/USDC, euler 3 WETH (")
    assert [says.partition(", into")[0].split(" eWETH")[1] for says in allows] == [
        " (shares) from euler 1 WETH/USDC",
        " (shares) from euler 3 WETH",
    ]


def test_all_shares_are_allowed_and_check_names_what_was_granted(
    devnet: Devnet, deployed: EulerDeployment, protected: Path
) -> None:
    assert keeper("setup --json", config=protected).document["transactions"] == []
    for number in (1, 3):
        assert allowance(devnet, deployed, number) == euler.shares(devnet.node, deployed, OWNER, number, "WETH")
    checked = keeper("check", config=protected)
    assert f"Euler's connector at {deployed.evc.lower()} has code" in checked.out
    assert "euler 1 WETH/USDC (euler:1) may receive while its health is below 1.2000" in checked.out
    one = euler.sub_account(OWNER, 3)
    assert f"its allowance from {one[:6]}…{one[-4:]} is " in checked.out


def test_an_allowance_is_changed_for_one_sub_account_or_for_all(
    devnet: Devnet, deployed: EulerDeployment, protected: Path
) -> None:
    ran = keeper("setup --send --impersonate --allowance eWETH=2 --allowance euler:3/eWETH=1.5", config=protected)
    assert ran.code == 0, ran.err
    assert allowance(devnet, deployed, 1) == 2 * 10**18
    assert allowance(devnet, deployed, 3) == 15 * 10**17
    ran = keeper("setup --allowance euler:9/eWETH=1", config=protected)
    assert ran.error.startswith(
        "--allowance names 'euler:9', which is no enrolled sub-account of Euler; there are euler"
    )


def test_what_a_retired_sub_account_allowed_is_taken_back(
    devnet: Devnet, deployed: EulerDeployment, protected: Path
) -> None:
    """Account 8 of the guard is sub-account 3: a wallet and six markets were enrolled before."""
    ran = keeper("setup --send --impersonate --retire 8", config=protected)
    assert ran.code == 0, ran.err
    assert "Takes the guard's allowance of eWETH from euler 3 back." in ran.out
    assert allowance(devnet, deployed, 3) == 0
    assert allowance(devnet, deployed, 1) > 0


TARGET = pytest.approx(1_250_000_000_000_000_000, rel=1e-6)
"""To the second it is met; interest takes a little until it is looked at."""


def test_a_rescue_brings_collateral_from_morpho_and_shares_go_to_accounts_on_morpho(
    devnet: Devnet, deployed: EulerDeployment, protected: Path
) -> None:
    """At 2,050 USD sub-account 1 is at 1.0891 and lacks 2.955 WETH, and two accounts on Morpho are in need too."""
    devnet.chain.set_price("WETH", "-18%")
    before = euler.health(devnet.node, deployed, OWNER, 1, "USDC")
    assert before == pytest.approx(1_089_060_000_000_000_000, rel=1e-4)
    ran = keeper_process("run --once", config=protected)
    assert "Rescue euler 1 WETH/USDC (euler:1): health 1.0890 is below its trigger of 1.1500." in ran.out
    # Who gives to whom is a question of gas; between them all three are served, out of Morpho and out of Euler.
    first, *others = ran.out.split("Rescue ")[1:]
    assert re.search(r" WETH from WETH/\w+ \d+%", first)
    assert any("WETH from euler 3 WETH (euler:3)" in other for other in others)
    assert "euler 1 WETH/USDC (euler:1) was rescued: health 1.0890 → 1.2" in ran.err
    assert "WETH/DAI 77% (morpho:0xebe9…a65b) was rescued" in ran.err
    assert euler.health(devnet.node, deployed, OWNER, 1, "USDC") == TARGET


@pytest.fixture
def without_morpho(config: Path) -> Path:
    """Sub-accounts and the wallet alone, set up."""
    text = config.read_text()
    for start, end in (('[[protocols]]\nkind = "morpho_blue"', "[[protocols]]"), ("[policy.overrides.", "[fees]")):
        at = text.index(start)
        text = text[:at] + text[text.index(end, at + 1) :]
    path = config.with_name("euler-alone.toml")
    path.write_text(text)
    ran = keeper("setup --send --impersonate", config=path)
    assert ran.code == 0, ran.err
    return path


def cash(devnet: Devnet, deployed: EulerDeployment) -> int:
    return decode_words(["uint256"], devnet.node.call(deployed.vaults["WETH"], encode_call("cash()")))[0]


def test_between_sub_accounts_shares_move_and_no_liquidity_does(
    devnet: Devnet, deployed: EulerDeployment, without_morpho: Path
) -> None:
    devnet.chain.set_price("WETH", "-18%")
    before = cash(devnet, deployed)
    ran = keeper_process("run --once", config=without_morpho)
    assert re.search(r"Move 2\.955\d* WETH from euler 3 WETH \(euler:3\)\.", ran.out)
    assert euler.health(devnet.node, deployed, OWNER, 1, "USDC") == TARGET
    assert cash(devnet, deployed) == before


def test_what_shares_do_not_suffice_for_comes_from_the_wallet(
    devnet: Devnet, deployed: EulerDeployment, without_morpho: Path
) -> None:
    """At 1,950 USD it lacks 4.133 WETH: more than the 4 of sub-account 3."""
    devnet.chain.set_price("WETH", "-22%")
    before = cash(devnet, deployed)
    ran = keeper_process("run --once", config=without_morpho)
    assert "WETH from euler 3 WETH (euler:3)" in ran.out
    assert "WETH from wallet" in ran.out
    assert euler.health(devnet.node, deployed, OWNER, 1, "USDC") == TARGET
    assert 0 < cash(devnet, deployed) - before <= 2 * 10**18


# Back again, and by hand ----------------------------------------------------------------------------------------------


def weth_of(snapshot: Snapshot, id: SubaccountId) -> int:
    return next(line.amount_raw for line in snapshot.subaccount(id).collateral if line.token.symbol == "WETH")


@pytest.mark.parametrize(
    ("giver", "taker", "kinds"),
    [
        ("euler:3", "euler:1", ["Moves 1 WETH within Euler from euler 3 WETH"]),
        ("euler:3", "wallet", ["Takes 1 WETH out of euler 3 WETH"]),
        ("euler:3", "WETH/DAI 77%", ["Takes 1 WETH", "Lets Morpho take exactly 1 WETH", "Supplies 1 WETH"]),
        ("WETH/DAI 77%", "euler:1", ["Takes 1 WETH", "Lets a vault of Euler's take exactly 1 WETH", "Supplies 1 WETH"]),
    ],
)
async def test_what_came_by_a_rescue_goes_back_by_the_owners_own_transactions(
    devnet: Devnet, config: Path, giver: str, taker: str, kinds: list[str]
) -> None:
    devnet.chain.set_price("WETH", "2900")
    async with open_session(load_config(config)) as session:
        before = await session.look()
        ids = {each.label: each.id for each in before.subaccounts} | {
            str(each.id): each.id for each in before.subaccounts
        }
        token = next(line.token for line in before.subaccount(ids["euler:3"]).collateral if line.token.symbol == "WETH")
        returning = Returning((Return(ids[giver], ids[taker], token, 10**18),), ())
        calls = return_calls(session.portfolio, before, session.policy, returning)
        assert by_hand_sentences(session.portfolio, before, returning) == []
        for call, kind in zip(calls, kinds, strict=True):
            assert call.says.startswith(kind)
            assert call.sender is None
            devnet.node.transact(OWNER.address, call.to, call.data)
        after = await session.look()
    # Interest of a second or two, and a wei that stays with the vault.
    changes = [weth_of(after, ids[one]) - weth_of(before, ids[one]) for one in (giver, taker)]
    assert changes == pytest.approx([-(10**18), 10**18], rel=1e-6)


def test_a_sub_account_without_an_oracle_can_be_made_safer_by_hand(
    devnet: Devnet, deployed: EulerDeployment, config: Path
) -> None:
    router = deployed.router
    devnet.node.set_code(router, bytes.fromhex("60006000fd"))
    (way,) = (
        one for one in keeper("status --json", config=config).document["by_hand"] if one["subaccount"] == "euler:1"
    )
    before = euler.shares(devnet.node, deployed, OWNER, 1, "WETH")
    for call in way["transactions"]:
        devnet.node.transact(OWNER.address, call["to"], bytes.fromhex(call["data"][2:]))
    assert euler.shares(devnet.node, deployed, OWNER, 1, "WETH") > before


async def test_what_a_supply_cap_leaves_can_be_deposited_and_no_more(
    devnet: Devnet, deployed: EulerDeployment, config: Path
) -> None:
    """2,024 WETH and what has been lent are in the vault; its cap is 2,030."""
    node, vault = devnet.node, deployed.vaults["WETH"]
    send_as(node, DEPLOYER, vault, "setCaps(uint16,uint16)", 203 << 6 | 21, 0)
    async with open_session(load_config(config)) as session:
        snapshot = await session.look()
    line = next(
        line for line in snapshot.subaccount(SubaccountId("euler", "1")).collateral if line.token.symbol == "WETH"
    )
    room = line.suppliable_raw_max
    assert room is not None
    assert 5 * 10**18 < room < 6 * 10**18
    euler.deposit(node, deployed, OWNER, 1, "WETH", room)
    with pytest.raises(NodeError):
        # More than the interest that was kept free.
        euler.deposit(node, deployed, OWNER, 1, "WETH", 10**15)


def test_of_two_vaults_of_a_token_check_and_explain_name_the_one_that_stays(
    devnet: Devnet, deployed: EulerDeployment, protected: Path
) -> None:
    """Besides 20 WETH in the first vault, sub-account 1 has 2 in another one, which counts as well."""
    other = replace(deployed, vaults={"WETH": euler.add_vault(devnet.node, deployed, "WETH", "USDC")})
    euler.deposit(devnet.node, other, OWNER, 1, "WETH", 2 * 10**18)
    euler.enable_collateral(devnet.node, other, OWNER, 1, "WETH")
    explained = keeper("explain euler:1", config=protected).out
    assert "Note: eWETH counts, but does not move: of several vaults of WETH one does." in explained
    assert "2 eWETH" in explained
    (finding,) = [
        each for each in keeper("check --json", config=protected).document["findings"] if "cannot move" in each["says"]
    ]
    assert (finding["grade"], finding["subaccount"]) == ("warning", "euler:1")
    assert finding["says"].startswith("2 eWETH cannot move: of several vaults of one token the keeper moves one")
    revoke = encode_call("approve(address,uint256)", devnet.deployment.guard, 0)
    euler.act(devnet.node, deployed, OWNER, 1, "WETH", revoke)
    findings = keeper("check --json", config=protected).document["findings"]
    # Moved to where nothing can leave either it could not be given.
    assert any("it cannot give" in each["says"] for each in findings if each["subaccount"] == "euler:1")
    assert not any("cannot move" in each["says"] for each in findings)
