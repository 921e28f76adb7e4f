"""The commands for a wallet that has Aave accounts too: what they print and what the owner is asked to send."""

import time
from pathlib import Path

import pytest

from scripts.localchain import aave
from scripts.localchain.abi import encode_call
from scripts.localchain.devnet import Devnet
from scripts.localchain.world import OWNER, UNPROTECTED
from tests.commands.shell import keeper, keeper_process

pytestmark = pytest.mark.devnet

ACCOUNT = f"aave:{OWNER.address.lower()}"


@pytest.fixture
def config(devnet: Devnet) -> Path:
    """keeper.toml of the protected wallet with its Aave account, 10 WETH and 1 WBTC against 40,000 USDC, and another
    account without debt."""
    devnet.node.set_next_timestamp(max(int(time.time()), devnet.node.timestamp() + 1))
    market = devnet.deployment.aave
    aave.open_account(
        devnet.node, market, OWNER, {"WETH": 10 * 10**18, "WBTC": 10**8}, {"USDC": 40_000 * 10**6}
    )  # fmt: skip
    aave.supply(devnet.node, market, UNPROTECTED, "WETH", 10 * 10**18)
    assets = ", ".join(f'"{market.tokens[symbol]}"' for symbol in ("WETH", "WBTC", "wstETH"))
    section = (
        f'[[protocols]]\nkind = "aave_v3"\npool = "{market.pool}"\n'
        f'accounts = ["{OWNER.address}", "{UNPROTECTED.address}"]\nassets = [{assets}]\n\n'
    )
    path = devnet.config.with_name("aave.toml")
    path.write_text(devnet.config.read_text().replace("[[protocols]]", f"{section}[[protocols]]", 1))
    return path


def test_an_account_is_shown_with_all_that_it_holds_and_owes(config: Path) -> None:
    ran = keeper("explain aave:0x70", config=config)
    assert ran.code == 0, ran.err
    assert "It holds 10 WETH, at 2,500 USD each, of which 83 % counts." in ran.out
    assert "It holds 1 WBTC, at 60,000 USD each, of which 78 % counts." in ran.out
    assert "Collateral that counts 67,550 USD / debt 40,000 USD = health 1.6887." in ran.out
    assert "prices: fresh" in ran.out


def test_the_owner_enrols_it_and_gives_finite_allowances_of_its_atokens(devnet: Devnet, config: Path) -> None:
    market = devnet.deployment.aave
    ran = keeper("setup --json", config=config)
    calls = ran.document["transactions"]
    assert [call["to"] for call in calls] == [
        devnet.deployment.guard.lower(),
        market.pool.lower(),
        market.a_tokens["WETH"].lower(),
        market.a_tokens["WBTC"].lower(),
    ]
    enrols, manages, *allows = (call["says"] for call in calls)
    assert enrols.startswith("Enrols aave 0x70…79C8 WETH+WBTC/USDC, aave 0x3C…93BC WETH (")
    assert manages.startswith("Makes the guard a position manager of this Aave account")
    # A wei of a supply stays with the pool, and the seconds since bring some back.
    for allowed, symbol, amount in ((allows[0], "aWETH", 10), (allows[1], "aWBTC", 1)):
        assert f" {symbol} from this Aave account" in allowed
        assert float(allowed.removeprefix("Lets the guard take at most ").split()[0]) == pytest.approx(amount, rel=1e-6)


def test_what_no_enrolled_account_needs_on_aave_is_taken_back(devnet: Devnet, config: Path) -> None:
    approve = encode_call("approve(address,uint256)", devnet.deployment.guard, 5 * 10**18)
    devnet.node.transact(OWNER.address, devnet.deployment.aave.a_tokens["WETH"], approve)
    checked = keeper("check", config=config)
    assert "is 5 aWETH, and no enrolled account needs it" in checked.out
    assert f"Aave v3.6 at {devnet.deployment.aave.pool.lower()} has code" in checked.out


def test_status_says_what_is_not_protected(config: Path) -> None:
    ran = keeper("status", config=config)
    assert f"({ACCOUNT[:11]}…79c8) is not protected: not enrolled in the guard" in ran.out
    assert "the guard may take 0 of 10 WETH: approve more of its aToken" in ran.out
    # The account without debt needs nothing, and is not told how it could receive.
    assert "aave 0x3C…93BC WETH (aave:0x3c44…93bc): wstETH" not in ran.out


def test_a_price_that_falls_reaches_the_account(config: Path) -> None:
    ran = keeper("plan --shock WBTC=-60%", config=config)
    assert "aave 0x70…79C8 WETH+WBTC/USDC" in ran.out
    ran = keeper("status --json", config=config)
    accounts = {each["id"]: each for each in ran.document["subaccounts"]}
    assert accounts[ACCOUNT]["health_wad"].startswith("16887")


@pytest.fixture
def protected(devnet: Devnet, config: Path) -> Path:
    """The same, with both accounts enrolled: the other holder joined, the owner sent what `setup` asks for."""
    market, guard, chain = devnet.deployment.aave, devnet.deployment.guard, devnet.chain
    chain.send(UNPROTECTED, guard, "join()")
    chain.send(UNPROTECTED, market.a_tokens["WETH"], "approve(address,uint256)", guard, 9 * 10**18)
    ran = keeper("setup --send --impersonate", config=config)
    assert ran.code == 0, ran.err
    return config


def test_another_holders_part_is_listed_as_his_own_and_the_owners_is_not_proposed_twice(
    devnet: Devnet, config: Path
) -> None:
    holder, guard = UNPROTECTED.address.lower(), devnet.deployment.guard.lower()
    ran = keeper("setup --send --impersonate", config=config)
    assert ran.code == 0, ran.err
    assert "Not the owner's to send, but each holder's own:" in ran.out
    document = keeper("setup --json", config=config).document
    assert document["transactions"] == []
    joins, allows = document["of_other_holders"]
    assert (joins["to"], joins["from"]) == (guard, holder)
    assert joins["says"].startswith(f"Has {holder} join the guard: ")
    assert (allows["to"], allows["from"]) == (devnet.deployment.aave.a_tokens["WETH"].lower(), holder)
    account = next(
        each
        for each in keeper("check --json", config=config).document["findings"]
        if each["subaccount"] == f"aave:{holder}"
    )
    assert f"it is enrolled, but its holder {holder} has not joined the guard" in account["says"]

    for call in (joins, allows):
        devnet.node.transact(holder, call["to"], bytes.fromhex(call["data"][2:]))
    document = keeper("setup --json", config=config).document
    assert (document["transactions"], document["of_other_holders"]) == ([], [])


def test_an_atoken_in_the_wallets_list_is_warned_of(devnet: Devnet, config: Path) -> None:
    a_token = devnet.deployment.aave.a_tokens["WETH"]
    text = config.read_text()
    config.write_text(text.replace("tokens = [", f'tokens = [\n    "{a_token}",', 1))
    findings = keeper("check --json", config=config).document["findings"]
    (warning,) = (
        each for each in findings if each["subject"] == "wallet aWETH" and "keeps collateral as" in each["says"]
    )
    assert warning["grade"] == "warning"
    assert warning["says"].startswith("it is what Aave keeps collateral as")


def test_an_account_is_rescued_with_the_atokens_of_another_without_debt(devnet: Devnet, protected: Path) -> None:
    market, chain = devnet.deployment.aave, devnet.chain
    assert keeper("setup --json", config=protected).document["transactions"] == []
    for symbol in ("WETH", "WBTC"):  # the wallet would be asked first
        chain.send(OWNER, devnet.deployment.tokens[symbol], "approve(address,uint256)", devnet.deployment.guard, 0)
    chain.set_price("WBTC", "-52%")
    before = aave.account(devnet.node, market, OWNER.address).health
    assert before == pytest.approx(1_080_350_000_000_000_000, rel=1e-4)
    ran = keeper_process("run --once", config=protected)
    assert "Move 3.27036 WETH from aave 0x3C…93BC WETH" in ran.out
    assert (
        "aave 0x70…79C8 WETH+WBTC/USDC (aave:0x7099…79c8) was rescued: health 1.0803 → 1.2" in ran.err
    )  # 1.2499 a few seconds later
    after = aave.account(devnet.node, market, OWNER.address).health
    assert 1_249_900_000_000_000_000 <= after < 1_252_000_000_000_000_000
