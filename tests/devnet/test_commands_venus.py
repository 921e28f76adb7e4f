"""The commands for a wallet with accounts in a pool of Venus: from `setup` to a rescue."""

import time
from pathlib import Path

import pytest

from keeper.config import load_config
from keeper.core.returning import Return, Returning
from keeper.core.snapshot import Snapshot, SubaccountId
from keeper.protocols.guard_setup import library_address
from keeper.return_calls import by_hand_sentences, return_calls
from keeper.session import open_session
from scripts.localchain import venus
from scripts.localchain.abi import decode_words, encode_call
from scripts.localchain.devnet import Devnet
from scripts.localchain.venus import VenusDeployment
from scripts.localchain.world import OWNER, UNPROTECTED
from tests.commands.shell import keeper, keeper_process

pytestmark = pytest.mark.devnet


@pytest.fixture
def deployed(devnet: Devnet) -> VenusDeployment:
    """The owner has 20 WETH against 32,000 USDC (health 1.328); another holder, who joined, 4 WETH and no debt."""
    node = devnet.node
    node.set_next_timestamp(max(int(time.time()), node.timestamp() + 1))
    found = venus.deploy(node, devnet.deployment.tokens, devnet.deployment.feeds)
    venus.open_account(node, found, OWNER, {"WETH": 20 * 10**18}, {"USDC": 32_000 * 10**6})
    venus.open_account(node, found, UNPROTECTED, {"WETH": 4 * 10**18}, {})
    devnet.chain.send(UNPROTECTED, devnet.deployment.guard, "join()")
    devnet.chain.send(UNPROTECTED, found.markets["WETH"], "approve(address,uint256)", devnet.deployment.guard, 10**9)
    return found


@pytest.fixture
def config(devnet: Devnet, deployed: VenusDeployment) -> Path:
    """keeper.toml of the wallet and both accounts alone."""
    text = devnet.config.read_text()
    for start, end in (('[[protocols]]\nkind = "morpho_blue"', "[[protocols]]"), ("[policy.overrides.", "[fees]")):
        at = text.index(start)
        text = text[:at] + text[text.index(end, at + 1) :]
    accounts = ", ".join(f'"{person.address}"' for person in (OWNER, UNPROTECTED))
    markets = ", ".join(f'"{market}"' for market in deployed.markets.values())
    section = (
        f'[[protocols]]\nkind = "venus_pool"\ncomptroller = "{deployed.comptroller}"\naccounts = [{accounts}]\n'
        f"markets = [{markets}]\n\n"
    )
    path = devnet.config.with_name("venus.toml")
    path.write_text(text.replace("[[protocols]]", f"{section}[[protocols]]", 1))
    return path


@pytest.fixture
def protected(config: Path) -> Path:
    """The same, after the owner sent what `setup` asks for."""
    ran = keeper("setup --send --impersonate", config=config)
    assert ran.code == 0, ran.err
    return config


def id_of(deployed: VenusDeployment, address: str) -> str:
    return f"venus:{deployed.comptroller.lower()}/{address.lower()}"


def health(devnet: Devnet, index: int) -> int:
    """As the guard judges it."""
    answer = devnet.node.call(devnet.deployment.guard, encode_call("health(uint16)", index))
    return decode_words(["uint256"], answer)[0]


def test_an_account_that_anybody_may_liquidate_is_never_healthy(
    devnet: Devnet, deployed: VenusDeployment, protected: Path
) -> None:
    venus.force_liquidation(devnet.node, deployed, "USDC")
    why = "Venus lets anybody liquidate what is owed of USDC, whatever the health; repay it by hand"
    shown = keeper("status", config=protected)
    assert shown.code == 0, shown.err
    assert f"CAN BE LIQUIDATED NOW: {why}" in " ".join(shown.out.split())
    ran = keeper(f"explain {id_of(deployed, OWNER.address)}", config=protected)
    said = " ".join(ran.out.split())
    assert f"It can be liquidated now, whatever its health: {why}." in said
    assert f"verdict: blocked: {why}" in said
    assert "It survives a fall" not in said


def test_an_account_is_shown_with_where_its_numbers_come_from(deployed: VenusDeployment, config: Path) -> None:
    ran = keeper(f"explain {id_of(deployed, OWNER.address)}", config=config)
    assert ran.code == 0, ran.err
    assert "at 2,500 USD each, of which 85 % counts." in ran.out
    assert "= health 1.328" in ran.out
    assert "prices: fresh" in ran.out
    assert f"{deployed.markets['WETH'].lower()} getAccountSnapshot({OWNER.address.lower()})" in ran.out


def test_the_owner_enrols_them_and_allows_vtokens(devnet: Devnet, deployed: VenusDeployment, protected: Path) -> None:
    assert keeper("setup --json", config=protected).document["transactions"] == []
    data = encode_call("allowance(address,address)", OWNER.address, devnet.deployment.guard)
    allowance = decode_words(["uint256"], devnet.node.call(deployed.markets["WETH"], data))[0]
    assert allowance == venus.tokens_of(devnet.node, deployed, OWNER.address, "WETH")
    checked = keeper("check", config=protected)
    assert f"Venus's pool at {deployed.comptroller.lower()} has code" in checked.out
    assert f"the code at {library_address()} is the guard's library" in checked.out


def test_a_rescue_brings_vtokens_of_the_other_holder_and_weth_of_the_wallet(
    devnet: Devnet, deployed: VenusDeployment, protected: Path
) -> None:
    """At 1,950 USD the account is at 1.036 and lacks 4.133 WETH: more than the 4 of the other holder."""
    devnet.chain.set_price("WETH", "-22%")
    before = venus.tokens_of(devnet.node, deployed, OWNER.address, "WETH")
    ran = keeper_process("run --once", config=protected)
    assert "health 1.0359 is below its critical of 1.0800." in ran.out
    assert "Move 4 WETH from venus" in ran.out
    assert "WETH from wallet" in ran.out
    assert "was rescued: health 1.0359 → 1.2" in ran.err
    assert venus.tokens_of(devnet.node, deployed, OWNER.address, "WETH") - before > 4 * 10**8
    # A wallet and six markets of Morpho were enrolled before.
    assert health(devnet, 7) == pytest.approx(1_250_000_000_000_000_000, rel=1e-5)


def test_the_daemon_does_not_start_without_the_guards_library(devnet: Devnet, protected: Path) -> None:
    devnet.node.set_code(library_address(), b"\x00")
    ran = keeper_process("run --once", config=protected)
    assert ran.code != 0
    assert f"code at {library_address()} is not the library that the guard is linked with" in ran.err
    checked = keeper("check", config=protected)
    assert f"the code at {library_address()} (hash 0x" in checked.out


# Back again, and by hand ----------------------------------------------------------------------------------------------


@pytest.fixture
def beside_morpho(devnet: Devnet, deployed: VenusDeployment) -> Path:
    """keeper.toml of the protected wallet with both accounts."""
    accounts = ", ".join(f'"{person.address}"' for person in (OWNER, UNPROTECTED))
    section = (
        f'[[protocols]]\nkind = "venus_pool"\ncomptroller = "{deployed.comptroller}"\naccounts = [{accounts}]\n'
        f'markets = ["{deployed.markets["WETH"]}"]\n\n'
    )
    path = devnet.config.with_name("beside.toml")
    path.write_text(devnet.config.read_text().replace("[[protocols]]", f"{section}[[protocols]]", 1))
    return path


def weth_of(snapshot: Snapshot, id: SubaccountId) -> int:
    return next(line.amount_raw for line in snapshot.subaccount(id).collateral if line.token.symbol == "WETH")


OWNERS, OTHERS = "the owner", "the other"


@pytest.mark.parametrize(
    ("giver", "taker", "kinds"),
    [
        (OTHERS, OWNERS, ["Moves 1 WETH within Venus from venus"]),
        (OWNERS, "wallet", ["Takes 1 WETH out of venus"]),
        (OTHERS, "wallet", ["Takes 1 WETH out of venus", "Sends 1 WETH from that account's own wallet on"]),
        (OWNERS, "WETH/DAI 77%", ["Takes 1 WETH", "Lets Morpho take exactly 1 WETH", "Supplies 1 WETH"]),
        ("WETH/DAI 77%", OTHERS, ["Takes 1 WETH", "Lets Venus take exactly 1 WETH", "Supplies 1 WETH"]),
    ],
)
async def test_what_came_by_a_rescue_goes_back_by_the_owners_own_transactions(
    devnet: Devnet, deployed: VenusDeployment, beside_morpho: Path, giver: str, taker: str, kinds: list[str]
) -> None:
    devnet.chain.set_price("WETH", "2900")
    async with open_session(load_config(beside_morpho)) as session:
        before = await session.look()
        ids = {each.label: each.id for each in before.subaccounts} | {"wallet": SubaccountId("wallet")}
        for name, person in ((OWNERS, OWNER), (OTHERS, UNPROTECTED)):
            ids[name] = SubaccountId("venus", id_of(deployed, person.address).partition(":")[2])
        token = next(line.token for line in before.subaccount(ids[OWNERS]).collateral if line.token.symbol == "WETH")
        returning = Returning((Return(ids[giver], ids[taker], token, 10**18),), ())
        calls = return_calls(session.portfolio, before, session.policy, returning)
        assert by_hand_sentences(session.portfolio, before, returning) == []
        for call, kind in zip(calls, kinds, strict=True):
            assert call.says.startswith(kind)
            assert (call.sender is not None) == (giver == OTHERS)
            devnet.node.transact(call.sender or OWNER.address, call.to, call.data)
        after = await session.look()
    # Interest of a second or two, and less than a vToken.
    changes = [weth_of(after, ids[one]) - weth_of(before, ids[one]) for one in (giver, taker)]
    assert changes == pytest.approx([-(10**18), 10**18], rel=1e-6)


def test_an_account_without_a_price_can_be_made_safer_by_hand(
    devnet: Devnet, deployed: VenusDeployment, config: Path
) -> None:
    """The owner's wallet has WETH, and the pool's oracle none of its prices."""
    devnet.node.set_code(deployed.oracle, bytes.fromhex("60006000fd"))
    owners = id_of(deployed, OWNER.address)
    (way,) = (one for one in keeper("status --json", config=config).document["by_hand"] if one["subaccount"] == owners)
    assert "supply " in way["says"]
    before = venus.tokens_of(devnet.node, deployed, OWNER.address, "WETH")
    for call in way["transactions"]:
        devnet.node.transact(OWNER.address, call["to"], bytes.fromhex(call["data"][2:]))
    assert venus.tokens_of(devnet.node, deployed, OWNER.address, "WETH") > before
