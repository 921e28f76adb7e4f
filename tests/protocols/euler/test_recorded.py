"""The adapter against states of the real contracts: every number is the contracts' own, to the wei."""

from collections.abc import Iterator, Mapping

import pytest

from keeper.core.snapshot import Fresh, FreshnessUnverified, Horizon, Stale, Subaccount, Unknown
from keeper.core.units import INFINITE_HEALTH, WAD, Address
from keeper.protocols.abi import interface
from keeper.protocols.euler.math import EulerMargin, Sides, quote
from tests.protocols.euler.recordings import (
    FEEDS,
    NAMES,
    TOKENS,
    VAULTS,
    Json,
    Recording,
    liquidity_in,
    needs_recordings,
    number_of,
)

pytestmark = needs_recordings

ORACLE = interface("EulerOracle")
ROLES = {f"vault:{name}": address for name, address in VAULTS.items()}


@pytest.fixture(params=NAMES)
def chain(request: pytest.FixtureRequest) -> Recording:
    return Recording(request.param)


def named(part: str) -> Recording:
    return Recording(next(name for name in NAMES if part in name))


def asked(chain: Recording, signature: str) -> Iterator[Json]:
    """The recorded calls of one function that were answered."""
    return (call for call in chain.calls if call["signature"] == signature and call["success"])


def moved(legs: list[Json]) -> dict[int, dict[Address, int]]:
    """What legs move in shares, by sub-account and vault."""
    changes: dict[int, dict[Address, int]] = {}
    for leg in legs:
        vault, shares = VAULTS[leg["vault"]], int(leg["shares"])
        for number, change in ((leg["from_sub"], -shares), (leg["to_sub"], shares)):
            of_account = changes.setdefault(number, {})
            of_account[vault] = of_account.get(vault, 0) + change
    return changes


# Arithmetic -----------------------------------------------------------------------------------------------------------


def test_shares_convert_as_the_vault_converts_them(chain: Recording) -> None:
    exchanges = {one.vault: one.exchange for margin in chain.margins().values() for one in margin.holdings}
    compared = 0
    for call in asked(chain, "convertToAssets(uint256)"):
        exchange = exchanges.get(ROLES[call["target_role"]])
        if exchange is not None:
            assert exchange.assets_down(int(call["args"][0])) == int(call["returndata"], 16)
            compared += 1
    for call in asked(chain, "convertToShares(uint256)"):
        exchange = exchanges.get(ROLES[call["target_role"]])
        if exchange is not None:
            assert exchange.shares_down(int(call["args"][0])) == int(call["returndata"], 16)
    assert compared >= 10


def test_every_recorded_quote_follows_from_the_quotes_of_the_cycle(chain: Recording) -> None:
    compared = 0
    for margin in chain.margins().values():
        for call in asked(chain, "getQuote(uint256,address,address)"):
            amount, base, quoted = int(call["args"][0]), call["args"][1].lower(), int(call["returndata"], 16)
            for holding in margin.holdings:
                if holding.price is None:
                    continue
                if base == holding.vault:
                    assert holding.value(amount, holding.price.mid) == quoted
                    compared += 1
                if base == holding.underlying:
                    assert quote(amount, holding.price.bid) == quoted
                    compared += 1
            if margin.owed and margin.owed.price and base == margin.owed.token:
                assert quote(amount, margin.owed.price.ask) == quoted
                compared += 1
    assert compared >= (15 if "stale" in chain.name else 60)


def test_values_are_those_of_account_liquidity(chain: Recording) -> None:
    own = {number: margin.own() for number, margin in chain.margins().items()}
    answered = chain.liquidity()
    for number, is_liquidation, collateral, debt in answered:
        sides = own[number]
        ours = (sides.collateral, sides.debt) if is_liquidation else (sides.initial_collateral, sides.initial_debt)
        assert ours == (collateral, debt)
    assert len(answered) >= (0 if "stale" in chain.name else 4)


def test_health_is_the_vaults_own_and_nothing_is_said_to_be_a_bound(chain: Recording) -> None:
    found = chain.subaccounts()
    for number, is_liquidation, collateral, debt in chain.liquidity():
        risk, margin = found[number].margin.risk(), found[number].margin
        assert isinstance(margin, EulerMargin)
        assert margin.reported is None
        if is_liquidation:
            assert risk.health_factor == (collateral * WAD // debt if debt else INFINITE_HEALTH)
            assert risk.is_liquidatable is (debt > 0 and collateral <= debt)
        else:
            assert risk.lets_collateral_leave is (debt == 0 or collateral > debt)


def test_who_is_liquidatable_is_whom_a_liquidator_may_take_from(chain: Recording) -> None:
    found = chain.subaccounts()
    for call in asked(chain, "checkLiquidation(address,address,address)"):
        takes = any(int(call["returndata"][at : at + 64], 16) for at in (2, 66))
        assert found[number_of(call["args"][1])].margin.risk().is_liquidatable is takes


def test_a_liquidatable_account_is_among_the_recordings() -> None:
    assert [number for number, one in named("eth-2550").subaccounts().items() if one.margin.risk().is_liquidatable] == [
        2
    ]


# What may leave -------------------------------------------------------------------------------------------------------


def is_closed(chain: Recording, vault: str) -> bool:
    return "transfer-disabled" in chain.name and vault == "eWETH"


def test_the_largest_transfer_of_shares_is_the_contracts_largest(chain: Recording) -> None:
    """By the allowance that is left and by the operator; also in a batch, after other legs."""
    margins = chain.margins()
    for entry in chain.movable:
        vault, number = VAULTS[entry["vault"]], entry["from_sub"]
        before = moved(entry.get("in_batch_after", []))
        margin = margins[number].moved(before.get(number, {}))
        largest = margin.largest_leaving(vault)
        if is_closed(chain, entry["vault"]):
            continue
        for way in ("operator", "spender"):
            if way not in entry or (way == "operator" and "lockdown" in chain.name):
                continue
            most, refused = int(entry[way]["max_shares"]), entry[way]["plus_one"]["error"]["name"]
            if refused == "E_InsufficientAllowance":
                assert most <= largest
                continue
            assert largest == most
            assert not margin.lets_shares_leave(vault, most + 1)
            if entry[way].get("zero_amount_succeeds") is not None:
                assert margin.lets_shares_leave(vault, 0) is entry[way]["zero_amount_succeeds"]


def test_what_a_line_says_can_move_is_what_the_contract_lets_the_guard_move(chain: Recording) -> None:
    found, margins = chain.subaccounts(), chain.margins()
    for entry in chain.movable:
        if entry.get("in_batch_after"):
            continue
        token, number = TOKENS[entry["vault"].removeprefix("e")], entry["from_sub"]
        line, margin = found[number].line(token), margins[number]
        most = int(entry["spender"]["max_shares"])
        if isinstance(found[number].reading, Unknown):
            assert line is None or line.movable_raw_max == 0
            continue
        if line is None:
            assert entry["balance"] == "0"
            continue
        holding = next(one for one in margin.holdings if one.vault == VAULTS[entry["vault"]])
        movable = holding.exchange.shares_up(line.movable_raw_max)
        if not margin.lets_shares_leave(holding.vault, 0):
            movable = 0
        exactly = min(movable, margin.largest_leaving(holding.vault))
        assert most - 1 <= exactly <= most  # a share that is worth no whole unit of the underlying stays


def test_in_units_of_the_underlying_the_largest_amount_passes_and_one_more_is_refused(chain: Recording) -> None:
    found, checked = chain.subaccounts(), 0
    for entry in chain.movable:
        one, token = found[entry["from_sub"]], TOKENS[entry["vault"].removeprefix("e")]
        best = entry.get("operator", entry["spender"])
        if (
            not one.has_debt
            or isinstance(one.reading, Unknown)
            or best["plus_one"]["error"]["name"] != ("E_AccountLiquidity")
        ):
            continue
        if entry.get("in_batch_after") or best["max_shares"] == "0":
            continue
        margin = one.margin
        assert isinstance(margin, EulerMargin)
        holding = next(held for held in margin.holdings if held.vault == VAULTS[entry["vault"]])
        most = holding.exchange.assets_down(int(best["max_shares"]))
        assert margin.risk({token: -most}).lets_collateral_leave
        assert not margin.risk({token: -most - 1}).lets_collateral_leave
        checked += 1
    assert checked or any(part in chain.name for part in ("stale", "lockdown"))


# Effects --------------------------------------------------------------------------------------------------------------


def were_executed(effect: Json) -> bool:
    """Whether each transfer itself went through, whatever the checks at the end of the batch said."""
    legs = effect["same_block"].get("legs", [])
    return bool(legs) and all(leg["success"] for leg in legs)


def after_legs(margins: Mapping[int, EulerMargin], legs: list[Json]) -> dict[int, Sides]:
    changes = moved(legs)
    return {number: margin.moved(changes.get(number, {})).own() for number, margin in margins.items()}


def test_an_executed_transfer_leaves_exactly_what_was_foretold(chain: Recording) -> None:
    margins = chain.margins()
    compared = 0
    for effect in chain.effects:
        if not were_executed(effect):
            continue
        foretold = after_legs(margins, effect["legs"])
        for number, is_liquidation, collateral, debt in liquidity_in(effect["same_block"]["after"]):
            sides = foretold[number]
            ours = (sides.collateral, sides.debt) if is_liquidation else (sides.initial_collateral, sides.initial_debt)
            assert ours == (collateral, debt)
            compared += 1
    assert compared or "stale" in chain.name or "disabled" in chain.name


def test_whether_a_transfer_passes_its_status_checks_is_foretold(chain: Recording) -> None:
    margins = chain.margins()
    for effect in chain.effects:
        if not were_executed(effect):
            continue
        changes = moved(effect["legs"])
        for status in effect["same_block"]["account_status"]:
            number = number_of(status["account"])
            margin = margins[number].moved(changes[number])
            assert margin.lets_shares_leave(margin.holdings[0].vault, 0) is status["ok"]


def test_interest_to_inclusion_is_bounded_from_above_and_closely(chain: Recording) -> None:
    """A block later nobody is worse than was foretold for it, and no better than by a hundred-thousandth."""
    later = chain.untouched
    if later is None:
        pytest.skip("nothing was recorded a block later")
    found, horizon = chain.subaccounts(), Horizon(later["timestamp"] - chain.block.timestamp)
    for number, is_liquidation, collateral, debt in liquidity_in(later["reads"]):
        if isinstance(found[number].reading, Unknown) or not debt:
            continue
        risk = found[number].margin.risk(horizon=horizon)
        if is_liquidation:
            foretold, actual = risk.health_factor, collateral * WAD // debt
            assert foretold <= actual
            assert (actual - foretold) * 100_000 <= actual
        else:
            assert risk.initial_collateral_value * debt <= collateral * risk.initial_debt_value


# States that are out of the ordinary ----------------------------------------------------------------------------------


def test_five_sub_accounts_are_found_of_256() -> None:
    found = named("eth-3000").subaccounts()
    assert {number: one.label for number, one in found.items()} == {
        0: "euler 0 WETH",
        1: "euler 1 WETH+wstETH/USDC",
        2: "euler 2 WETH+wstETH/USDC",
        3: "euler 3 wstETH+WETH/USDC",
        4: "euler 4 USDC+wstETH/WETH",
    }
    assert all(one.reading == Fresh() for one in found.values())
    assert found[1].holder == "0x70997970c51812dc3a010c7d01b50e0d17dc79c9"
    assert found[1].penalty_bps == 1765  # a discount of 15 % is 17.65 % of the debt repaid
    (debt,) = found[1].debts
    assert (debt.token.symbol, debt.amount_raw) == ("USDC", 30_000_000_002)


def test_a_liquidation_ltv_on_its_way_down_is_further_down_at_inclusion() -> None:
    """Half way from 85 to 75 % in 7 days: an hour later 0.05 % more of the value has gone; the borrow LTV stays."""
    one = named("ltv-ramp-half").subaccounts()[1]
    now, later = one.margin.risk(), one.margin.risk(horizon=Horizon(3_600))
    assert later.collateral_value / now.collateral_value == pytest.approx(7_994 / 8_000, abs=1e-4)
    assert later.initial_collateral_value == now.initial_collateral_value


def test_a_stale_feed_makes_who_owes_unknown_and_who_does_not_can_still_give() -> None:
    found = named("stale-feed").subaccounts()
    assert found[0].reading == Fresh()
    assert found[0].cannot_give is None
    assert found[0].collateral[0].movable_raw_max > 14 * 10**18
    for number in (1, 2, 3, 4):
        assert_unknown(found[number], "PriceOracle_TooStale(staleness=288000, maxStaleness=259200)")


def assert_unknown(one: Subaccount, reason: str) -> None:
    assert isinstance(one.reading, Unknown)
    assert reason in one.reading.reason
    assert one.cannot_give == one.reading.reason
    assert one.has_debt
    assert one.margin.risk().health_factor == 0
    assert all(line.movable_raw_max == 0 for line in one.collateral)


def test_lockdown_does_not_stop_an_allowance() -> None:
    for one in named("lockdown").subaccounts().values():
        assert one.cannot_give is None
        assert "the owner's EVC lockdown mode is on; allowances of shares work all the same" in one.notes


def test_disabled_transfers_close_one_vault_and_no_other() -> None:
    found = named("transfer-disabled").subaccounts()
    closed = "the governor of eWETH-1 disabled its transfers"
    assert [one.cannot_give for one in found.values()] == [closed, closed, closed, None, None]
    assert found[3].collateral[0].movable_raw_max == 10 * 10**18
    weth = found[3].line(TOKENS["WETH"])
    assert weth is not None
    assert weth.receivable_raw_max == 0


def test_a_controller_that_is_owed_nothing_restricts_nothing() -> None:
    one = named("controller-without-debt").subaccounts()[0]
    assert one.debts == ()
    assert one.cannot_give is None
    assert one.margin.risk({TOKENS["WETH"]: -one.collateral[0].amount_raw}).lets_collateral_leave
    assert one.notes == ("eUSDC-1 still is its controller, though nothing is owed",)


def test_shares_that_do_not_count_are_named_with_what_would_make_them_count() -> None:
    found = named("uncounted").subaccounts()
    assert "eUSDC-1 does not count: eUSDC-1 gives it no LTV" in found[1].notes
    assert "eUSDC-1 does not count: it is not enabled as collateral (EVC.enableCollateral)" in found[2].notes
    usdc = found[2].line(TOKENS["USDC"])
    assert usdc is not None
    assert (usdc.maintenance_weight, usdc.receivable_raw_max) == (0, 0)
    # It is below 1 at the borrow LTV: not even what does not count may leave.
    assert not found[2].margin.risk({TOKENS["USDC"]: -1}).lets_collateral_leave
    assert found[1].margin.risk({TOKENS["USDC"]: -usdc.amount_raw}).lets_collateral_leave


def test_allowances_are_counted_in_shares_and_their_end_is_named() -> None:
    found = named("uncounted").subaccounts()
    assert found[0].cannot_give == ("the guard may take 0 of 15 eWETH-1: approve more shares to make it available")
    assert "the guard may take 3 of 20 eWETH-1: approve more shares to make it available" in found[1].notes
    assert found[1].cannot_give is None


def test_a_move_can_pass_although_the_account_has_no_value() -> None:
    """The status check stops at the first collateral that covers the debt; the one without a price is not reached."""
    chain = named("one-collateral-unpriceable")
    assert_unknown(chain.subaccounts()[1], "PriceOracle_InvalidAnswer()")
    margins = chain.margins()
    assert margins[1].largest_leaving(VAULTS["eWETH"]) == 6_613_119_141_903_978_952
    assert not margins[3].lets_shares_leave(VAULTS["ewstETH"], 0)


def test_freshness_is_that_of_the_feeds_behind_what_counts() -> None:
    eth, usdc = FEEDS
    chain = named("eth-3000")
    found = chain.subaccounts(feeds={eth: Fresh(), usdc: Stale("old")})
    assert [one.reading for one in found.values()] == [Fresh()] + 4 * [Stale("old")]
    assert found[1].feeds == (eth, usdc)
    unnamed = named("eth-3000")
    unnamed.revert(Address("0x59b670e9fa9d0a427751af201d676719a970857b"), ORACLE["feed"])
    reading = unnamed.subaccounts()[1].reading
    assert reading == FreshnessUnverified(
        "oracle 0xa852…338f of eUSDC-1 in eUSDC-1 does not name its price feeds, so their age cannot be judged"
    )


def test_an_account_is_read_in_the_order_of_its_status_check() -> None:
    orders = {number: [one.vault for one in margin.holdings] for number, margin in named("two-coll").margins().items()}
    weth, usdc, wsteth = VAULTS.values()
    assert orders == {0: [weth], 1: [weth, wsteth], 2: [weth, wsteth], 3: [wsteth, weth], 4: [usdc, wsteth]}
