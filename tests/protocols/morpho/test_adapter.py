import re
from collections.abc import Callable

import pytest
from eth_abi.abi import encode

from keeper.core.policy import Pair
from keeper.core.snapshot import (
    Debt,
    Fresh,
    FreshnessUnverified,
    GuardProtocol,
    Horizon,
    Reading,
    Stale,
    Subaccount,
    SubaccountId,
    Token,
    Unknown,
)
from keeper.core.units import INFINITE_HEALTH, Address
from keeper.errors import ProtocolError
from keeper.protocols.abi import ZERO_ADDRESS, interface
from keeper.protocols.base import Around, CallResult, Enrolment
from keeper.protocols.morpho.adapter import Market, MorphoBlue, discover
from keeper.protocols.morpho.find import market_ids_in, position_log_filter
from tests.protocols.fakes import (
    BLOCK,
    ETH_FEED,
    GUARD,
    IRM,
    LLTV,
    MARKET,
    MORPHO,
    NOW,
    ORACLE,
    OWNER,
    USDC,
    USDC_FEED,
    WETH,
    FakeChain,
    a_chain,
    address,
    set_market,
    set_position,
)

ID = SubaccountId("morpho", MARKET)
KEY = bytes.fromhex(MARKET[2:])
OF_MORPHO, OF_ORACLE = interface("Morpho"), interface("MorphoOracle")
FRESH_FEEDS: dict[Address, Reading] = {ETH_FEED: Fresh(), USDC_FEED: Fresh()}


def found(chain: FakeChain, guard: Address | None = GUARD) -> MorphoBlue:
    adapter, _ = chain.run(discover(MORPHO, OWNER, guard, [MARKET]))
    return adapter


def read(
    chain: FakeChain,
    feeds: dict[Address, Reading] = FRESH_FEEDS,
    guard: Address | None = GUARD,
    problem: str | None = None,
) -> Subaccount:
    adapter = found(a_chain(), guard)
    (subaccount,) = adapter.decode(chain.results(adapter.read_calls()), Around(BLOCK, problem, {}, feeds))
    return subaccount


def is_never_healthy(subaccount: Subaccount) -> bool:
    risk = subaccount.margin.risk()
    return risk.health_factor == 0 and risk.is_liquidatable and subaccount.has_debt


# Discovery ------------------------------------------------------------------------------------------------------------


def test_a_market_is_found_with_its_tokens_and_feeds_in_two_rounds() -> None:
    adapter, rounds = a_chain().run(discover(MORPHO, OWNER, GUARD, [MARKET.upper().replace("0X", "0x")]))
    weth, usdc = Token(WETH, "WETH", 18), Token(USDC, "USDC", 6)
    assert adapter.markets == (Market(MARKET, usdc, weth, ORACLE, IRM, LLTV, (ETH_FEED, USDC_FEED)),)
    assert adapter.markets[0].label == "WETH/USDC 86%"
    assert adapter.feeds() == [ETH_FEED, USDC_FEED]
    assert adapter.tokens() == [weth, usdc]
    assert adapter.underlyings() == [WETH, USDC]
    assert adapter.pairs() == [Pair(ID, LLTV, "WETH", "USDC")]
    assert adapter.enrolments() == [Enrolment(ID, "WETH/USDC 86%", GuardProtocol.MORPHO, OWNER, MORPHO, MARKET, ())]
    assert rounds == 2


@pytest.mark.parametrize(
    ("lltv", "label"),
    [(915 * 10**15, "WETH/USDC 91.5%"), (9_650 * 10**14, "WETH/USDC 96.5%"), (10**17, "WETH/USDC 10%")],
)
def test_a_market_is_called_by_its_pair_and_lltv(lltv: int, label: str) -> None:
    weth, usdc = Token(WETH, "WETH", 18), Token(USDC, "USDC", 6)
    assert Market(MARKET, usdc, weth, ORACLE, IRM, lltv, ()).label == label


def test_a_market_that_does_not_exist_is_named() -> None:
    chain = a_chain()
    chain.answer(MORPHO, OF_MORPHO["idToMarketParams"], KEY, returns=[ZERO_ADDRESS] * 4 + [0])
    with pytest.raises(ProtocolError, match=f"has no market {MARKET}; correct or remove the id"):
        found(chain)


def test_parameters_that_do_not_hash_to_the_id_are_refused() -> None:
    chain = a_chain()
    chain.answer(MORPHO, OF_MORPHO["idToMarketParams"], KEY, returns=[USDC, WETH, ORACLE, IRM, LLTV + 1])
    with pytest.raises(ProtocolError, match=f"answers for market {MARKET} with the parameters of another one"):
        found(chain)


def test_an_address_without_code_is_not_morpho() -> None:
    with pytest.raises(ProtocolError, match="is not Morpho Blue"):
        found(FakeChain())


@pytest.mark.parametrize(
    ("decimals", "problem"),
    [(None, "does not say its decimals"), (19, "has 19 decimals; the keeper handles at most 18")],
)
def test_a_token_that_cannot_be_counted_is_named(decimals: int | None, problem: str) -> None:
    chain = a_chain()
    if decimals is None:
        chain.revert(USDC, interface("ERC20")["decimals"])
    else:
        chain.answer(USDC, interface("ERC20")["decimals"], returns=[decimals])
    with pytest.raises(ProtocolError, match=re.escape(USDC)) as refused:
        found(chain)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("answer", "symbol"),
    [
        (CallResult(True, b"MKR".ljust(32, b"\0")), "MKR"),
        (CallResult(True, encode(["string"], ["WETH"])), "WETH"),
        (CallResult(True, encode(["string"], [" evil\x1b[2J "])), "evil�[2J"),
        (CallResult(True, encode(["string"], ["a symbol longer than 16"])), "a symbol longer…"),
        (CallResult(True, encode(["string"], [""])), "0x0000…00e1"),
        (CallResult(True, b"\x00" * 31), "0x0000…00e1"),
        (CallResult(False, b""), "0x0000…00e1"),
    ],
)
def test_a_symbol_in_all_its_forms(answer: CallResult, symbol: str) -> None:
    chain = a_chain()
    chain.answer_raw(WETH, interface("ERC20")["symbol"].encode(), answer)
    assert found(chain).markets[0].collateral.symbol == symbol


@pytest.mark.parametrize("missing", ["BASE_FEED_1", "QUOTE_FEED_2"])
def test_an_oracle_that_does_not_name_all_its_feeds_names_none(missing: str) -> None:
    chain = a_chain()
    chain.revert(ORACLE, OF_ORACLE[missing], data=b"")
    assert found(chain).markets[0].feeds is None
    assert found(chain).feeds() == []


def test_an_oracle_may_do_without_any_feed() -> None:
    chain = a_chain()
    for name in ("BASE_FEED_1", "QUOTE_FEED_1"):
        chain.answer(ORACLE, OF_ORACLE[name], returns=[ZERO_ADDRESS])
    assert found(chain).markets[0].feeds == ()


# Reading --------------------------------------------------------------------------------------------------------------


def test_a_position_is_read_to_the_wei() -> None:
    subaccount = read(a_chain())
    (line,) = subaccount.collateral
    assert (subaccount.id, subaccount.label, subaccount.holder) == (ID, "WETH/USDC 86%", OWNER)
    assert (line.amount_raw, line.movable_raw_max) == (10 * 10**18, 10 * 10**18)
    assert line.price == 2_500 * 10**18
    assert line.maintenance_weight == line.initial_weight == 2_150 * 10**18
    assert subaccount.debts == (Debt(Token(USDC, "USDC", 6), 17_200 * 10**6, 10**18),)
    assert subaccount.margin.risk().health_factor == 1_250_000_000_000_000_000
    assert subaccount.penalty_bps == 439
    assert subaccount.feeds == (ETH_FEED, USDC_FEED)
    assert subaccount.reading == Fresh()
    assert subaccount.cannot_give is None


def test_the_debt_is_the_one_after_accrual_and_the_rate_what_it_showed() -> None:
    chain = a_chain()
    set_market(chain, borrowed=(10**12, 10**12 + 11_999), elapsed=12)
    subaccount = read(chain)
    # 17,200e6 * 1.000000011999, rounded up
    assert subaccount.debts == (Debt(Token(USDC, "USDC", 6), 17_200_000_207, 10**18),)
    # 12,000 of 10^12 in 12 s is 10^-9 a second; in another 100 s 10^-7 of the debt.
    later = subaccount.margin.risk(horizon=Horizon(100)).debt_value
    assert later == 17_200_001_927 * 10**12


def test_an_empty_position_is_still_a_subaccount() -> None:
    subaccount = read(a_chain(collateral_raw=0, borrow_shares=0))
    assert subaccount.id == ID
    assert not subaccount.has_debt
    assert subaccount.collateral[0].amount_raw == 0
    assert subaccount.reading == Fresh()


def test_a_debt_free_position_needs_neither_price_nor_its_age() -> None:
    chain = a_chain(borrow_shares=0)
    chain.revert(ORACLE, OF_ORACLE["price"])
    subaccount = read(chain, {ETH_FEED: Unknown("broken"), USDC_FEED: Stale("old")})
    assert subaccount.reading == Fresh()
    assert subaccount.margin.risk().health_factor == INFINITE_HEALTH
    assert subaccount.collateral[0].movable_raw_max == 10 * 10**18
    assert subaccount.collateral[0].price == 0
    assert subaccount.cannot_give is None


@pytest.mark.parametrize(
    ("eth", "usdc", "reading"),
    [
        (Fresh(), Fresh(), Fresh()),
        (Fresh(), FreshnessUnverified("no heartbeat"), FreshnessUnverified("no heartbeat")),
        (Stale("old"), FreshnessUnverified("no heartbeat"), Stale("old")),
        (Stale("old"), Unknown("zero"), Unknown("zero")),
    ],
)
def test_a_position_with_debt_is_known_as_well_as_its_worst_feed(eth: Reading, usdc: Reading, reading: Reading) -> None:
    assert read(a_chain(), {ETH_FEED: eth, USDC_FEED: usdc}).reading == reading


def test_an_oracle_without_named_feeds_leaves_the_age_unverified() -> None:
    chain = a_chain()
    chain.revert(ORACLE, OF_ORACLE["BASE_FEED_1"], data=b"")
    adapter = found(chain)
    (subaccount,) = adapter.decode(chain.results(adapter.read_calls()), Around(BLOCK, None, {}, {}))
    assert subaccount.reading == FreshnessUnverified(
        "oracle 0x0000…000a of WETH/USDC 86% does not name its price feeds, so their age cannot be judged"
    )
    assert subaccount.margin.risk().health_factor == 1_250_000_000_000_000_000


# What cannot be read --------------------------------------------------------------------------------------------------


def reverting_oracle(chain: FakeChain) -> None:
    chain.revert(ORACLE, OF_ORACLE["price"])


def missing_oracle(chain: FakeChain) -> None:
    chain.answer_raw(ORACLE, OF_ORACLE["price"].encode(), CallResult(True, b""))


def price_of_zero(chain: FakeChain) -> None:
    chain.answer(ORACLE, OF_ORACLE["price"], returns=[0])


def price_beyond_morphos_arithmetic(chain: FakeChain) -> None:
    chain.answer(ORACLE, OF_ORACLE["price"], returns=[2**256 // 10**19 + 1])


def reverting_accrual(chain: FakeChain) -> None:
    params = (USDC, WETH, ORACLE, IRM, LLTV)
    chain.revert(MORPHO, OF_MORPHO["accrueInterest"], params, data=b"")


def reverting_market(chain: FakeChain) -> None:
    chain.revert(MORPHO, OF_MORPHO["market"], KEY)


def short_market(chain: FakeChain) -> None:
    chain.answer_raw(MORPHO, OF_MORPHO["market"].encode(KEY), CallResult(True, bytes(160)))


def late_accrual(chain: FakeChain) -> None:
    set_market(chain, accrued_at=NOW - 1)


def reverting_position(chain: FakeChain) -> None:
    chain.revert(MORPHO, OF_MORPHO["position"], KEY, OWNER)


@pytest.mark.parametrize(
    ("breaks", "reason"),
    [
        (reverting_oracle, "oracle 0x0000…000a of WETH/USDC 86% does not answer: stale"),
        (missing_oracle, "oracle 0x0000…000a of WETH/USDC 86% does not answer: 0 bytes instead of a price"),
        (price_of_zero, "oracle 0x0000…000a of WETH/USDC 86% answers a price of zero"),
        (reverting_accrual, "the interest of WETH/USDC 86% cannot be accrued: reverted without a reason"),
        (reverting_market, "Morpho does not answer for the market WETH/USDC 86%: stale"),
        (short_market, "Morpho does not answer for the market WETH/USDC 86%: 160 bytes instead of a market"),
        (late_accrual, "the interest of WETH/USDC 86% is accrued to 1699999999, not to the block's time 1700000000"),
        (reverting_position, "Morpho does not answer for the position in WETH/USDC 86%: stale"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)  # fmt: skip
def test_what_cannot_be_read_is_named_and_never_healthy(breaks: Callable[[FakeChain], None], reason: str) -> None:
    chain = a_chain()
    breaks(chain)
    subaccount = read(chain)
    assert subaccount.reading == Unknown(reason)
    assert is_never_healthy(subaccount)
    assert subaccount.cannot_give
    assert all(line.movable_raw_max == 0 for line in subaccount.collateral)


def test_a_price_that_makes_the_contract_overflow_is_unknown() -> None:
    chain = a_chain()
    price_beyond_morphos_arithmetic(chain)
    assert read(chain).reading == Unknown(
        "oracle 0x0000…000a of WETH/USDC 86% answers a price that overflows Morpho's own arithmetic"
    )


def test_a_debt_free_position_whose_interest_cannot_accrue_cannot_give() -> None:
    """Morpho.withdrawCollateral accrues first, with or without debt."""
    chain = a_chain(borrow_shares=0)
    reverting_accrual(chain)
    subaccount = read(chain)
    assert subaccount.reading == Fresh()
    assert subaccount.cannot_give == "interest cannot be accrued: reverted without a reason"
    assert subaccount.collateral[0].movable_raw_max == 0


# Permission -----------------------------------------------------------------------------------------------------------


def test_without_authorisation_nothing_can_leave() -> None:
    chain = a_chain()
    chain.answer(MORPHO, OF_MORPHO["isAuthorized"], OWNER, GUARD, returns=[False])
    subaccount = read(chain)
    assert subaccount.cannot_give == (
        "the guard is not authorised on Morpho; the owner has to send setAuthorization(guard, true)"
    )
    assert subaccount.collateral[0].movable_raw_max == 0
    assert subaccount.reading == Fresh()


def test_an_authorisation_that_cannot_be_read_is_none() -> None:
    chain = a_chain()
    chain.revert(MORPHO, OF_MORPHO["isAuthorized"], OWNER, GUARD)
    assert read(chain).cannot_give == "whether the guard is authorised on Morpho cannot be read: stale"


def test_without_a_guard_positions_are_still_read() -> None:
    subaccount = read(a_chain(), guard=None)
    assert subaccount.cannot_give == "no guard is configured"
    assert subaccount.margin.risk().health_factor == 1_250_000_000_000_000_000


def test_five_calls_a_market_and_one_more() -> None:
    chain = a_chain()
    set_position(chain, 1, 1)
    assert len(found(chain).read_calls()) == 6
    assert len(found(chain, guard=None).read_calls()) == 5


# Finding positions ----------------------------------------------------------------------------------------------------


def test_positions_are_found_by_collateral_supplied_for_the_owner() -> None:
    filter = position_log_filter(MORPHO, OWNER)
    assert filter.address == MORPHO
    assert filter.topics == (
        "0xa3b9472a1399e17e123f3c2e6586c23e504184d504de59cdaa2b375e880c6184",
        None,
        None,
        "0x" + "00" * 12 + OWNER[2:],
    )
    other = "0x" + "CD" * 32
    logs = [("0xa3", MARKET, "0x01", "0x02"), ("0xa3", other, "0x01", "0x02"), ("0xa3", MARKET, "0x03", "0x02")]
    assert market_ids_in(logs) == (MARKET, other.lower())


def test_addresses_of_the_fakes_are_distinct() -> None:
    assert address(0xA11CE) == OWNER != GUARD


def test_a_guard_that_cannot_be_used_is_asked_no_permission_for() -> None:
    chain = a_chain()
    chain.answer(MORPHO, OF_MORPHO["isAuthorized"], OWNER, GUARD, returns=[False])
    one = read(chain, problem="it is another contract")
    assert one.cannot_give == "the guard cannot be used: it is another contract"
    assert not any(line.movable_raw_max for line in one.collateral)
