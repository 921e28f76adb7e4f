"""After the storm: the transactions of `plan --return`, really sent by the owner, restore what was there before."""

import json
import re
import shlex
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from keeper.config import load_config
from keeper.core.returning import Return, Returning
from keeper.core.snapshot import SubaccountId
from keeper.protocols.guard_setup import OwnerCall
from keeper.return_calls import return_calls
from keeper.session import open_session
from scripts.localchain import aave
from scripts.localchain.devnet import Devnet
from scripts.localchain.world import OWNER, UNPROTECTED
from tests.commands.shell import Ran, keeper, keeper_process

pytestmark = pytest.mark.devnet


@pytest.fixture(autouse=True)
def a_block_of_now(devnet: Devnet) -> None:
    """A chain that is put back stays behind by as much, and a node whose newest block is old is a fault of its own."""
    devnet.node.set_next_timestamp(max(int(time.time()), devnet.node.timestamp() + 1))
    devnet.node.mine()


def amounts(config: Path) -> dict[tuple[str, str], int]:
    """What every account holds, by id and symbol."""
    return {
        (each["id"], line["symbol"]): int(line["amount_raw"])
        for each in keeper("status --json", config=config).document["subaccounts"]
        for line in each["collateral"]
    }


def rescue(config: Path) -> None:
    ran = keeper_process("run --once", config=config)
    assert ran.code == 0, ran.err
    assert "included in block" in ran.out


def send(devnet: Devnet, calls: Iterable[Any]) -> None:
    for call in calls:
        devnet.node.transact(call.get("from", OWNER.address), call["to"], bytes.fromhex(call["data"][2:]))


def test_without_a_rescue_there_is_nothing_to_return(devnet: Devnet) -> None:
    ran = keeper("plan --return", config=devnet.config)
    assert ran.code == 0
    assert re.fullmatch(r"At block \d+: nothing to return; no rescue moved anything\.\n", ran.out)
    assert keeper("plan --return --json", config=devnet.config).document["transactions"] == []
    assert keeper("plan --return --form cast", config=devnet.config).out == "# Nothing to return.\n"


def test_what_a_rescue_moved_goes_back_once_prices_have_recovered(devnet: Devnet) -> None:
    before = amounts(devnet.config)
    devnet.chain.set_price("WETH", "-12%")
    rescue(devnet.config)
    assert amounts(devnet.config) != before

    # At its target of 1.25 the rescued account is below its floor of 1.30.
    early = keeper("plan --return", config=devnet.config)
    assert early.code == 0, early.out
    assert re.search(r"At block \d+: nothing can be returned yet\.\n", early.out)
    assert re.search(r"WETH/USDC 86% \(.*\) keeps 3\.\d+ WETH that it got: it would end below its floor\.", early.out)

    devnet.chain.set_price("WETH", "2900")
    ran = keeper("plan --return", config=devnet.config)
    assert ran.code == 3, ran.out
    assert re.search(r"At block \d+: 3 returns would restore what rescues changed\.\n", ran.out)
    assert re.search(
        r"1\. Takes 3 WETH out of WETH/USDC 86% \(.*\) into the wallet, for WETH/DAI 86% \(.*\): a rescue had "
        r"brought it there, and without it it is at 1\.\d{4}, its floor being 1\.3000\.",
        ran.out,
    )
    assert re.search(r"2\. Lets Morpho take exactly 3 WETH from the wallet, for the next step\.", ran.out)
    assert re.search(r"3\. Supplies 3 WETH as collateral to WETH/DAI 86% \(.*\), which had given it", ran.out)
    assert re.search(
        r"4\. Takes 0\.28\d+ WETH out of WETH/USDC 86% \(.*\) into the wallet, which had given it: ", ran.out
    )
    assert re.search(
        r"5\. Takes 1\.48\d+ WETH out of WETH/DAI 77% \(.*\) into the wallet, which had given it: ", ran.out
    )
    assert "its hot key only fills who is in need" in ran.out

    document = keeper("plan --return --json", config=devnet.config).document
    send(devnet, document["transactions"])
    assert amounts(devnet.config) == before
    again = keeper("plan --return", config=devnet.config)
    assert again.code == 0
    assert again.out.endswith("nothing to return; what rescues moved is back where it was, or gone.\n")
    assert keeper("plan", config=devnet.config).code == 0


def test_the_transactions_are_printed_in_the_forms_of_setup(devnet: Devnet) -> None:
    devnet.chain.set_price("WETH", "-12%")
    rescue(devnet.config)
    devnet.chain.set_price("WETH", "2900")
    calls = keeper("plan --return --json", config=devnet.config).document["transactions"]
    safe = keeper("plan --return --form safe", config=devnet.config)
    assert safe.code == 3
    assert [(call["to"], call["data"]) for call in json.loads(safe.out)["transactions"]] == [
        (call["to"], call["data"]) for call in calls
    ]
    cast = keeper("plan --return --form cast", config=devnet.config).out.splitlines()
    assert [shlex.split(line)[-2:] for line in cast[1::2]] == [[call["to"], call["data"]] for call in calls]
    assert cast[::2] == [f"# {call['says']}" for call in calls]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--return --shock WETH=-5%", "--return looks at the chain as it is: leave --shock and --gas out."),
        ("--form safe", "--form is for --return: what the keeper itself would send, nobody has to sign."),
    ],
)
def test_what_does_not_go_together_is_refused(devnet: Devnet, arguments: str, says: str) -> None:
    ran: Ran = keeper(f"plan {arguments}", config=devnet.config)
    assert (ran.code, ran.error) == (2, says)


# Aave -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def on_aave(devnet: Devnet) -> Path:
    """keeper.toml with the owner's Aave account, enrolled and permitted: 10 WETH and 1 WBTC against 40,000 USDC."""
    market = devnet.deployment.aave
    aave.open_account(
        devnet.node, market, OWNER, {"WETH": 10 * 10**18, "WBTC": 10**8}, {"USDC": 40_000 * 10**6}
    )  # fmt: skip
    aave.supply(devnet.node, market, UNPROTECTED, "WETH", 10 * 10**18)
    path = devnet.config.with_name("aave.toml")
    section = (
        f'[[protocols]]\nkind = "aave_v3"\npool = "{market.pool}"\n'
        f'accounts = ["{OWNER.address}", "{UNPROTECTED.address}"]\nassets = ["{market.tokens["WETH"]}"]\n\n'
    )
    path.write_text(devnet.config.read_text().replace("[[protocols]]", f"{section}[[protocols]]", 1))
    devnet.chain.send(UNPROTECTED, devnet.deployment.guard, "join()")
    assert keeper("setup --send --impersonate", config=path).code == 0
    return path


def test_what_came_to_an_aave_account_goes_back(devnet: Devnet, on_aave: Path) -> None:
    before = amounts(on_aave)
    devnet.chain.set_price("WBTC", "-52%")
    ran = keeper_process("run --once", config=on_aave)
    assert "was rescued: health 1.0803 → 1.2" in ran.err
    devnet.chain.set_price("WBTC", "60000")
    document = keeper("plan --return --json", config=on_aave).document
    assert {one["giver"] for one in document["returns"]} == {f"aave:{OWNER.address.lower()}"}
    send(devnet, document["transactions"])
    after = amounts(on_aave)
    # Interest and a wei that stays with the pool.
    assert all(abs(after[place] - before[place]) <= before[place] // 10**6 for place in before)
    assert keeper("plan --return", config=on_aave).code == 0


@pytest.mark.parametrize(("giver", "taker"), [(OWNER, UNPROTECTED), (UNPROTECTED, OWNER)])
async def test_between_two_aave_accounts_it_is_one_transfer_by_the_givers_holder(
    devnet: Devnet, on_aave: Path, giver: Any, taker: Any
) -> None:
    ids = [SubaccountId("aave", person.address.lower()) for person in (giver, taker)]
    async with open_session(load_config(on_aave)) as session:
        snapshot = await session.look()
        weth = next(line.token for line in snapshot.subaccount(ids[0]).collateral if line.token.symbol == "WETH")
        returning = Returning((Return(ids[0], ids[1], weth, 10**18),), ())
        (call,) = return_calls(session.portfolio, snapshot, session.policy, returning)
        assert call.sender == (None if giver is OWNER else giver.address.lower())
        devnet.node.transact(giver.address, call.to, call.data)
        after = await session.look()
    assert [_weth(after, id) - _weth(snapshot, id) for id in ids] == pytest.approx([-(10**18), 10**18], rel=1e-6)


async def test_out_of_another_holders_account_the_holder_withdraws_and_the_owner_supplies(
    devnet: Devnet, on_aave: Path
) -> None:
    giver = SubaccountId("aave", UNPROTECTED.address.lower())
    async with open_session(load_config(on_aave)) as session:
        snapshot = await session.look()
        taker = next(each for each in snapshot.subaccounts if each.label == "WETH/USDC 77%")
        weth = taker.collateral[0].token
        returning = Returning((Return(giver, taker.id, weth, 10**18),), ())
        calls: list[OwnerCall] = return_calls(session.portfolio, snapshot, session.policy, returning)
        assert [call.sender for call in calls] == [UNPROTECTED.address.lower(), None, None]
        for call in calls:
            devnet.node.transact(call.sender or OWNER.address, call.to, call.data)
        after = await session.look()
    assert _weth(after, taker.id) - _weth(snapshot, taker.id) == 10**18
    assert _weth(after, SubaccountId("wallet")) == _weth(snapshot, SubaccountId("wallet"))


def _weth(snapshot: Any, id: SubaccountId) -> int:
    return next(line.amount_raw for line in snapshot.subaccount(id).collateral if line.token.symbol == "WETH")
