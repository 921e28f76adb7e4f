"""The owner's transactions of a return: what each says of whoever gives."""

from keeper.core.returning import Return, Returning
from keeper.core.snapshot import SubaccountId
from keeper.core.units import Address
from keeper.protocols.morpho.adapter import Market, MorphoBlue
from keeper.protocols.portfolio import Portfolio, Topology
from keeper.return_calls import return_calls
from tests.builders import GUARD, MORPHO, OWNER, USDC, WETH, a_policy, a_snapshot, a_subaccount, a_wallet, raw, wad

ORACLE, IRM = Address("0x" + "0c" * 20), Address("0x" + "1c" * 20)
KEYS = "0x" + "3a" * 32, "0x" + "3b" * 32
MARKETS = tuple(Market(key, USDC, WETH, ORACLE, IRM, wad("0.86"), ()) for key in KEYS)
PORTFOLIO = Portfolio(
    Topology(31337, OWNER, GUARD, None, (MorphoBlue(MORPHO, OWNER, GUARD, MARKETS),), (), 0, {}, None)
)
GIVER, TAKER, WALLET = *(SubaccountId("morpho", key) for key in KEYS), SubaccountId("wallet")


def whys(*returns: Return) -> list[str]:
    """20 WETH at 2000 count 34,400 at an LLTV of 0.86, and 17,200 are owed: 1.30 is reached with 13."""
    accounts = a_subaccount(KEYS[0], weth="20", debt="17200"), a_subaccount(KEYS[1], debt="1"), a_wallet("1")
    calls = return_calls(PORTFOLIO, a_snapshot(*accounts), a_policy(*accounts), Returning(returns, ()))
    return [says.partition("and without it ")[2] for each in calls if "a rescue had brought" in (says := each.says)]


def test_the_health_that_is_named_is_after_all_that_the_same_giver_gave_before() -> None:
    assert whys(Return(GIVER, TAKER, WETH, raw(WETH, "5")), Return(GIVER, WALLET, WETH, raw(WETH, "2"))) == [
        "it is at 1.5000, its floor being 1.3000.",
        "it is at 1.3000, its floor being 1.3000.",
    ]


def test_what_another_giver_gave_changes_nothing() -> None:
    owed = Return(WALLET, TAKER, WETH, raw(WETH, "1"))
    assert whys(owed, Return(GIVER, WALLET, WETH, raw(WETH, "2")))[-1] == "it is at 1.8000, its floor being 1.3000."
