from collections import defaultdict
from contextlib import suppress
from dataclasses import replace

import pytest

from keeper.core.policy import Pair
from keeper.core.snapshot import (
    Debt,
    Fresh,
    FreshnessUnverified,
    GuardAccount,
    GuardProtocol,
    Stale,
    Strike,
    Subaccount,
    SubaccountId,
    Token,
    Unknown,
)
from keeper.core.units import INFINITE_HEALTH, WAD, Address
from keeper.errors import ProtocolError
from keeper.protocols.aave.adapter import NO_KEY, discover
from keeper.protocols.abi import ZERO_ADDRESS, interface
from keeper.protocols.base import Around, Call, CallResult, Enrolment
from tests.protocols.aave.fakes import (
    A_TOKENS,
    BTC_FEED,
    CAPPED_USDC,
    CONFIGURATIONS,
    DEBT_TOKENS,
    FRESH,
    HEALTH,
    OF_ERC20,
    OF_FEED,
    OF_ORACLE,
    OF_POOL,
    OF_SOURCE,
    OF_TOKEN,
    ORACLE,
    POOL,
    PROVIDER,
    RAY,
    USDC_OWED,
    V30,
    V36,
    WBTC_USED,
    WETH_USED,
    an_aave_chain,
    configuration,
    found,
    read,
    set_account,
    set_balance,
    set_category,
    set_price,
    set_reserve,
)
from tests.protocols.fakes import BLOCK, ETH_FEED, GUARD, OWNER, USDC, USDC_FEED, WBTC, WETH, FakeChain, address

ID = SubaccountId("aave", OWNER)
SECOND = address(0xB0B)
BOTH = pytest.mark.parametrize("revision", [V30, V36])
UINT256_MAX = 2**256 - 1


def is_never_healthy(subaccount: Subaccount) -> bool:
    risk = subaccount.margin.risk()
    return risk.health_factor == 0 and risk.is_liquidatable and subaccount.has_debt


def check_is_unknown(subaccount: Subaccount, reason: str) -> None:
    assert isinstance(subaccount.reading, Unknown), subaccount.reading
    assert reason in subaccount.reading.reason
    assert subaccount.cannot_give
    assert all(line.movable_raw_max == 0 for line in subaccount.collateral)
    assert is_never_healthy(subaccount)


def movable(subaccount: Subaccount, asset: Address) -> tuple[int, int | None]:
    line = subaccount.line(asset)
    assert line is not None
    return line.movable_raw_max, line.withdrawable_raw_max


def receivable(subaccount: Subaccount, asset: Address) -> tuple[int, int | None]:
    line = subaccount.line(asset)
    assert line is not None
    return line.receivable_raw_max, line.suppliable_raw_max


# Discovery ------------------------------------------------------------------------------------------------------------


@BOTH
def test_a_pool_is_found_with_what_its_accounts_use_and_what_may_move(revision: int) -> None:
    adapter = found(an_aave_chain(revision), assets=(WETH,))
    assert [reserve.token for reserve in adapter.pool.reserves] == [Token(WETH, "WETH", 18), Token(USDC, "USDC", 6)]
    assert [reserve.id for reserve in adapter.pool.reserves] == [0, 2]
    assert adapter.pool.revision == revision
    assert adapter.pool.oracle == ORACLE
    assert adapter.tokens()[-1] == Token(ZERO_ADDRESS, "USD", 8)
    assert adapter.underlyings() == [WETH]
    assert adapter.pairs() == [Pair(ID, 83 * WAD // 100, "WETH", "USDC")]
    assert adapter.enrolments() == [
        Enrolment(ID, "aave 0x00…11cE WETH/USDC", GuardProtocol.AAVE, OWNER, POOL, NO_KEY, (WETH,))
    ]


def test_a_price_source_is_looked_behind_for_its_feeds() -> None:
    adapter = found(an_aave_chain())
    assert [reserve.source for reserve in adapter.pool.reserves] == [ETH_FEED, CAPPED_USDC, BTC_FEED]
    assert adapter.feeds() == [ETH_FEED, USDC_FEED, BTC_FEED]


def test_of_a_price_in_two_steps_both_feeds_are_found_and_a_tokens_own_rate_has_none() -> None:
    chain = an_aave_chain()
    middle, own_rate = address(0xF5), address(0xF6)
    chain.answer(CAPPED_USDC, OF_SOURCE["ASSET_TO_USD_AGGREGATOR"], returns=[ZERO_ADDRESS])
    chain.answer(CAPPED_USDC, OF_SOURCE["BASE_TO_USD_AGGREGATOR"], returns=[middle])
    chain.answer(CAPPED_USDC, OF_SOURCE["RATIO_PROVIDER"], returns=[own_rate])
    chain.answer(middle, OF_SOURCE["ASSET_TO_PEG"], returns=[BTC_FEED])
    chain.answer(middle, OF_SOURCE["PEG_TO_BASE"], returns=[USDC_FEED])
    assert found(chain).pool.reserves[1].feeds == (BTC_FEED, USDC_FEED)
    # A rate that is an aggregator itself can be too old as well.
    chain.answer(CAPPED_USDC, OF_SOURCE["RATIO_PROVIDER"], returns=[ETH_FEED])
    assert found(chain).pool.reserves[1].feeds == (BTC_FEED, USDC_FEED, ETH_FEED)


def test_the_owners_other_accounts_stand_beside_the_owners() -> None:
    chain = an_aave_chain()
    set_account(chain, WBTC_USED, UINT256_MAX, account=SECOND)
    for asset in (WETH, USDC, WBTC):
        set_balance(chain, asset, account=SECOND)
    adapter = found(chain, accounts=(OWNER, SECOND))
    assert [account.label for account in adapter.pool.accounts] == ["aave 0x00…11cE WETH/USDC", "aave 0x00…0B0b WBTC"]
    assert [one.holder for one in adapter.enrolments()] == [OWNER, SECOND]
    assert adapter.pairs()[1] == Pair(SubaccountId("aave", SECOND), None, "WBTC", "")


@pytest.mark.parametrize("revision", [2, 3, 9, 11])
def test_a_pool_of_another_revision_is_refused_by_name(revision: int) -> None:
    with pytest.raises(ProtocolError, match=rf"revision {revision} and the keeper knows 1 \(Aave v3.0\) and 10"):
        found(an_aave_chain(revision))


def test_what_is_no_pool_is_refused() -> None:
    with pytest.raises(ProtocolError, match="is not an Aave v3 pool"):
        found(FakeChain())


@pytest.mark.parametrize(
    ("currency", "unit", "message"),
    [
        (WETH, 10**18, "prices in the token"),
        (ZERO_ADDRESS, 3, "no power of ten"),
        (ZERO_ADDRESS, 10**19, "no power of ten to"),
    ],
)
def test_an_oracle_that_does_not_price_in_usd_is_refused(currency: Address, unit: int, message: str) -> None:
    chain = an_aave_chain()
    chain.answer(ORACLE, OF_ORACLE["BASE_CURRENCY"], returns=[currency])
    chain.answer(ORACLE, OF_ORACLE["BASE_CURRENCY_UNIT"], returns=[unit])
    with pytest.raises(ProtocolError, match=message):
        found(chain)


def test_an_e_mode_that_cannot_be_is_refused() -> None:
    chain = an_aave_chain()
    set_account(chain, WETH_USED | USDC_OWED, HEALTH, mode=256)
    with pytest.raises(ProtocolError, match="names an e-mode category 256"):
        found(chain)


def test_every_answer_of_a_discovery_may_be_nonsense() -> None:
    """What is found then is refused by name, or read as unknown."""
    for broken in (CallResult(False, b""), *(CallResult(True, b"\xff" * length) for length in (0, 31, 32, 480))):
        chain = an_aave_chain()
        asked: list[Call] = []
        discovery = discover(POOL, (OWNER,), GUARD, (WETH,))
        calls = next(discovery)
        with suppress(StopIteration):
            while True:
                asked += calls
                calls = discovery.send(chain.results(calls))
        for call in asked:
            worse = an_aave_chain()
            worse.answer_raw(call.to, call.data, broken)
            with suppress(ProtocolError):
                adapter = found(worse, assets=(WETH,))
                adapter.decode(worse.results(adapter.read_calls()), Around(BLOCK, None, {}, defaultdict(Fresh)))


def test_an_asset_that_the_pool_does_not_have_is_refused() -> None:
    with pytest.raises(ProtocolError, match=f"has no reserve of {SECOND}"):
        found(an_aave_chain(), assets=(SECOND,))


def test_the_list_of_calls_is_fixed_and_short() -> None:
    # The revision, three reserves of seven, and of the account four and three for each reserve.
    assert len(found(an_aave_chain()).read_calls()) == 1 + 3 * 7 + 4 + 3 * 3
    # In version 3.0 there is no position manager and there is a stable debt.
    assert len(found(an_aave_chain(V30)).read_calls()) == 1 + 3 * 7 + 3 + 3 * 4
    assert len(found(an_aave_chain(), guard=None).read_calls()) == 1 + 3 * 7 + 3 + 3 * 2


def test_what_is_read_of_an_account_can_be_named() -> None:
    adapter = found(an_aave_chain(), assets=(WETH,))
    sources = adapter.sources(ID)
    assert len(sources) == 3 + 2 * 5
    assert (sources[2].contract, sources[2].function) == (POOL, f"getUserAccountData({OWNER})")
    assert adapter.sources(SubaccountId("aave", SECOND)) == []


# Reading --------------------------------------------------------------------------------------------------------------


@BOTH
def test_an_account_is_read_with_its_collateral_its_debt_and_its_health(revision: int) -> None:
    subaccount = read(an_aave_chain(revision))
    assert subaccount.id == ID
    assert subaccount.reading == Fresh()
    assert subaccount.unit == Token(ZERO_ADDRESS, "USD", 8)
    assert subaccount.margin.risk().health_factor == 1_250_000_000_000_000_000
    assert subaccount.debts == (Debt(Token(USDC, "USDC", 6), 16_600 * 10**6, WAD),)
    assert subaccount.penalty_bps == 500
    assert subaccount.feeds == (ETH_FEED, USDC_FEED)
    assert subaccount.cannot_give is None
    line = subaccount.line(WETH)
    assert line is not None
    assert (line.amount_raw, line.price) == (10 * 10**18, 2_500 * 10**18)
    assert line.amount_raw * line.maintenance_weight // WAD == 20_750 * 10**18
    assert line.initial_weight == line.maintenance_weight


@pytest.mark.parametrize(
    ("revision", "owed_raw", "health", "strike"),
    [
        (V36, 2_000_000_000, 10_375_000_000_000_000_000, Strike(5_000, 950_000_000_000_000_001)),
        (V36, 1_999_999_999, 10_375_000_005_187_500_002, Strike()),
        (V30, 1_999_999_999, 10_375_000_005_187_500_003, Strike(5_000, 950_000_000_000_000_001)),
    ],
    ids=["large", "a millionth of a dollar short", "before 3.3 size was not asked for"],
)
def test_a_liquidation_repays_half_at_once_where_both_sides_are_large(
    revision: int, owed_raw: int, health: int, strike: Strike
) -> None:
    chain = an_aave_chain(revision)
    set_account(chain, WETH_USED | USDC_OWED, health)
    set_balance(chain, USDC, owed=owed_raw)
    subaccount = read(chain)
    assert subaccount.reading == Fresh()
    assert subaccount.strike == strike


def test_an_account_is_enrolled_by_its_holder_and_its_pool() -> None:
    enrolment = GuardAccount(7, GuardProtocol.AAVE, OWNER, POOL, NO_KEY, (WETH,), 0, 0, 0, 0, True)
    subaccount = read(an_aave_chain(), enrolled={(GuardProtocol.AAVE, OWNER, POOL, NO_KEY): enrolment})
    assert subaccount.guard_index == 7
    assert movable(subaccount, WETH) == (4 * 10**18, 4 * 10**18)
    assert movable(subaccount, WBTC) == (0, 0)
    assert "WBTC is not enrolled in the guard, so it cannot move" in subaccount.notes
    assert read(an_aave_chain()).guard_index is None


def test_balances_and_debts_carry_interest_to_the_block() -> None:
    # 10 * 1.1 * 2,500 * 0.83 = 22,825 against 16,600 * 1.05 = 17,430.
    chain = an_aave_chain(health=1_309_523_809_523_809_523)
    set_reserve(chain, WETH, income=11 * RAY // 10)
    set_reserve(chain, USDC, debt=105 * RAY // 100)
    subaccount = read(chain)
    assert subaccount.margin.risk().health_factor == 1_309_523_809_523_809_523
    assert subaccount.debts[0].amount_raw == 17_430 * 10**6
    line = subaccount.line(WETH)
    assert line is not None
    assert line.amount_raw == 11 * 10**18


def test_an_account_without_debt_is_known_whatever_the_oracle_says() -> None:
    chain = an_aave_chain(health=UINT256_MAX)
    set_account(chain, WETH_USED, UINT256_MAX)
    set_balance(chain, USDC)
    chain.revert(ORACLE, OF_ORACLE["getAssetPrice"], WETH)
    chain.revert(POOL, OF_POOL["getUserAccountData"], OWNER)
    subaccount = read(chain, found(an_aave_chain()), feeds={})
    assert subaccount.reading == Fresh()
    assert subaccount.debts == ()
    assert subaccount.margin.risk().health_factor == INFINITE_HEALTH
    # WETH was not given a guard's allowance here: it is as in the usual chain.
    assert movable(subaccount, WETH) == (4 * 10**18, 4 * 10**18)


def test_several_debts_and_collaterals_are_one_account() -> None:
    # 20,750 + 0.5 * 60,000 * 0.75 = 43,250 against 16,600 + 0.1 * 60,000 = 22,600.
    chain = an_aave_chain()
    set_account(chain, WETH_USED | USDC_OWED | WBTC_USED | 0b01 << 6, 1_913_716_814_159_292_035)
    set_balance(chain, WBTC, supplied=5 * 10**7, owed=10**7, allowance=10**20)
    subaccount = read(chain)
    assert subaccount.reading == Fresh()
    assert subaccount.margin.risk().health_factor == 1_913_716_814_159_292_035
    assert [(debt.token.symbol, debt.amount_raw) for debt in subaccount.debts] == [
        ("USDC", 16_600 * 10**6),
        ("WBTC", 10**7),
    ]
    assert subaccount.penalty_bps == 600  # the worst of its collaterals
    assert subaccount.feeds == (ETH_FEED, USDC_FEED, BTC_FEED)


def test_the_tokens_that_are_allowed_to_the_guard_are_named_and_a_manager_only_where_one_helps() -> None:
    adapter = found(an_aave_chain())
    assert adapter.a_tokens()[WETH] == Token(A_TOKENS[WETH], "aWETH", 18)
    chain = an_aave_chain()
    assert not adapter.wants_manager(read(chain))  # WBTC is switched off, which the guard leaves as it is
    set_balance(chain, WBTC)
    assert adapter.wants_manager(read(chain))
    only_weth = found(an_aave_chain(), assets=(WETH,))
    assert not only_weth.wants_manager(read(chain, only_weth))


# What may move --------------------------------------------------------------------------------------------------------


def test_the_guard_takes_what_its_allowance_lets_it() -> None:
    subaccount = read(an_aave_chain())
    assert movable(subaccount, WETH) == (4 * 10**18, 4 * 10**18)
    assert movable(subaccount, WBTC) == (5 * 10**7, 5 * 10**7)
    assert any("may take 4 of 10 WETH" in note for note in subaccount.notes)


def test_without_a_guard_nothing_may_leave() -> None:
    subaccount = read(an_aave_chain(), found(an_aave_chain(), guard=None))
    assert subaccount.cannot_give == "no guard is configured"
    assert movable(subaccount, WETH) == (0, 0)


def test_an_allowance_that_cannot_be_read_is_none() -> None:
    chain = an_aave_chain()
    chain.revert(A_TOKENS[WETH], OF_ERC20["allowance"], OWNER, GUARD)
    subaccount = read(chain)
    assert movable(subaccount, WETH) == (0, 0)
    assert any("allowance of the aToken of WETH cannot be read" in note for note in subaccount.notes)


def test_what_is_not_among_the_assets_does_not_move() -> None:
    subaccount = read(an_aave_chain(), found(an_aave_chain(), assets=(WBTC,)))
    assert movable(subaccount, WETH) == (0, 0)
    assert receivable(subaccount, WETH) == (0, 0)
    assert subaccount.line(USDC) is None


@BOTH
def test_a_transfer_needs_no_liquidity_and_a_withdrawal_does(revision: int) -> None:
    chain = an_aave_chain(revision)
    chain.answer(POOL, OF_POOL["getVirtualUnderlyingBalance"], WETH, returns=[10**18])
    chain.answer(WETH, OF_ERC20["balanceOf"], A_TOKENS[WETH], returns=[10**18])
    subaccount = read(chain)
    assert movable(subaccount, WETH) == (4 * 10**18, 10**18)
    assert any("only 1 WETH can be withdrawn" in note for note in subaccount.notes)


def test_a_transfer_meets_no_supply_cap_and_a_supply_does() -> None:
    chain = an_aave_chain()
    assert receivable(read(chain), WETH) == (2**120 - 1 - 10 * 10**18, None)
    # A million are supplied, of a cap of a million and five; one unit is kept back for the rounding.
    set_reserve(chain, WETH, configuration(supply_cap=1_000_005))
    assert receivable(read(chain), WETH) == (2**120 - 1 - 10 * 10**18, 5 * 10**18 - 1)
    set_reserve(chain, WETH, configuration(supply_cap=999_999))
    assert receivable(read(chain), WETH) == (2**120 - 1 - 10 * 10**18, 0)


@pytest.mark.parametrize(
    ("word", "gives", "takes", "note"),
    [
        (configuration(is_frozen=True), (4 * 10**18, 4 * 10**18), (2**120 - 1 - 10 * 10**18, 0), None),
        (configuration(is_active=False), (4 * 10**18, 0), (2**120 - 1 - 10 * 10**18, 0), None),
        (configuration(is_paused=True), (0, 0), (0, 0), "WETH is paused on Aave, so it cannot move"),
    ],
)
def test_a_frozen_reserve_still_moves_within_and_a_paused_one_does_not(
    word: int, gives: tuple[int, int], takes: tuple[int, int], note: str | None
) -> None:
    chain = an_aave_chain()
    set_reserve(chain, WETH, word)
    subaccount = read(chain)
    assert subaccount.reading == Fresh()
    assert (movable(subaccount, WETH), receivable(subaccount, WETH)) == (gives, takes)
    assert note is None or note in subaccount.notes


def test_collateral_with_an_ltv_of_zero_stops_the_others() -> None:
    # 43,250 against 16,600.
    chain = an_aave_chain()
    set_account(chain, WETH_USED | USDC_OWED | WBTC_USED, 2_605_421_686_746_987_951)
    set_reserve(chain, WBTC, configuration(0, 7_500, 10_600, 8))
    subaccount = read(chain)
    assert movable(subaccount, WETH) == (0, 0)
    assert movable(subaccount, WBTC) == (5 * 10**7, 5 * 10**7)
    assert "WBTC has an LTV of 0 and must leave before WETH may" in subaccount.notes
    assert not subaccount.margin.risk({WETH: -1}).lets_collateral_leave


# What counts on arrival -----------------------------------------------------------------------------------------------


def test_what_was_never_used_counts_in_version_3_6_only_where_the_guard_may_switch_it_on() -> None:
    chain = an_aave_chain()
    set_balance(chain, WBTC)
    subaccount = read(chain)
    assert receivable(subaccount, WBTC) == (0, 0)
    assert any(note.startswith("WBTC is not in use as collateral") for note in subaccount.notes)
    assert subaccount.margin.risk({WBTC: 10**8}).collateral_value == 20_750 * 10**18
    set_account(chain, WETH_USED | USDC_OWED, HEALTH, is_manager=True)
    trusted = read(chain)
    assert receivable(trusted, WBTC) == (2**120 - 1, None)
    assert trusted.margin.risk({WBTC: 10**8}).collateral_value == 20_750 * 10**18 + 45_000 * 10**18


@BOTH
def test_what_is_there_and_switched_off_is_left_so(revision: int) -> None:
    chain = an_aave_chain(revision)
    set_account(chain, WETH_USED | USDC_OWED, HEALTH, is_manager=True)
    subaccount = read(chain)
    assert receivable(subaccount, WBTC) == (0, 0)
    assert any(note.startswith("WBTC is switched off as collateral") for note in subaccount.notes)
    assert subaccount.margin.risk({WBTC: 10**8}).collateral_value == 20_750 * 10**18


# 16,600 USDC are owed, of which a 25,600th is 0.6484375 USDC: 1,080 satoshi at 60,000 USD are 0.648.
@pytest.mark.parametrize(("satoshi", "is_dust"), [(1, True), (1_080, True), (1_081, False)])
def test_dust_that_is_switched_off_keeps_nothing_from_arriving(satoshi: int, is_dust: bool) -> None:
    """A stranger can send it to anybody; the guard switches on what is more than there was."""
    chain = an_aave_chain()
    set_balance(chain, WBTC, supplied=satoshi)
    assert any(
        note.startswith("WBTC is not in use as collateral and the guard may not switch it on") is is_dust
        for note in read(chain).notes
        if note.startswith("WBTC is")
    )
    set_account(chain, WETH_USED | USDC_OWED, HEALTH, is_manager=True)
    one = read(chain)
    assert (receivable(one, WBTC) != (0, 0)) is is_dust
    assert (one.margin.risk({WBTC: 10**8}).collateral_value > 20_750 * 10**18) is is_dust


def test_dust_keeps_an_asset_from_counting_in_version_3_0() -> None:
    """There an asset is switched on when the balance was nothing, and by nobody else than the holder."""
    chain = an_aave_chain(V30)
    set_balance(chain, WBTC, supplied=1)
    assert receivable(read(chain), WBTC) == (0, 0)


def test_what_was_never_used_counts_at_once_in_version_3_0() -> None:
    chain = an_aave_chain(V30)
    set_balance(chain, WBTC)
    assert receivable(read(chain), WBTC) == (2**128 - 1, None)
    # 20,750 and 45,000 of 85,000 are 77.35 %, floored, of which 65,747.5 are left.
    assert read(chain).margin.risk({WBTC: 10**8}).collateral_value == 65_747_500_000_000_000_000_000


@BOTH
@pytest.mark.parametrize(
    ("weth", "wbtc", "note"),
    [
        (configuration(), configuration(0, 7_500, 10_600, 8), "WBTC has an LTV of 0"),
        (configuration(), configuration(7_000, 7_500, 10_600, 8, debt_ceiling=1), "WBTC is isolated collateral"),
        (configuration(debt_ceiling=1), CONFIGURATIONS[WBTC], "the account is isolated to WETH"),
    ],
)
def test_what_cannot_be_switched_on_is_not_received(revision: int, weth: int, wbtc: int, note: str) -> None:
    chain = an_aave_chain(revision)
    set_account(chain, WETH_USED | USDC_OWED, HEALTH, is_manager=True)
    set_balance(chain, WBTC)
    set_reserve(chain, WETH, weth)
    set_reserve(chain, WBTC, wbtc)
    subaccount = read(chain)
    assert receivable(subaccount, WBTC) == (0, 0)
    assert any(note in one for one in subaccount.notes)
    assert receivable(subaccount, WETH)[0] > 0


# E-mode ---------------------------------------------------------------------------------------------------------------


def an_e_mode_chain(
    revision: int, health: int, collateral: tuple[Address, ...] = (), ltv_zero: tuple[Address, ...] = ()
) -> FakeChain:
    chain = an_aave_chain(revision)
    set_account(chain, WETH_USED | USDC_OWED, health, mode=1)
    set_category(chain, 1, (9_300, 9_500, 10_100), collateral=collateral, ltv_zero=ltv_zero)
    return chain


@pytest.mark.parametrize(
    ("members", "health", "penalty_bps"),
    [((WETH,), 1_430_722_891_566_265_060, 100), ((), HEALTH, 500)],
)
def test_an_e_mode_changes_threshold_and_penalty_of_its_members(
    members: tuple[Address, ...], health: int, penalty_bps: int
) -> None:
    # 25,000 * 0.95 = 23,750 against 16,600.
    subaccount = read(an_e_mode_chain(V36, health, collateral=members))
    assert subaccount.reading == Fresh()
    assert subaccount.margin.risk().health_factor == health
    assert subaccount.penalty_bps == penalty_bps


def test_a_member_whose_ltv_is_zero_in_its_e_mode_must_leave_first() -> None:
    chain = an_e_mode_chain(V36, 1_430_722_891_566_265_060, collateral=(WETH,), ltv_zero=(WETH,))
    subaccount = read(chain)
    assert subaccount.margin.risk().health_factor == 1_430_722_891_566_265_060
    set_account(chain, WETH_USED | USDC_OWED | WBTC_USED, 2_786_144_578_313_253_012, mode=1)
    both = read(chain)
    assert both.reading == Fresh()
    assert movable(both, WBTC) == (0, 0)
    assert movable(both, WETH) == (4 * 10**18, 4 * 10**18)


@pytest.mark.parametrize(("category", "health"), [(1, 1_430_722_891_566_265_060), (2, HEALTH)])
def test_in_version_3_0_a_reserve_names_its_own_e_mode(category: int, health: int) -> None:
    chain = an_e_mode_chain(V30, health)
    set_reserve(chain, WETH, configuration(category=category))
    assert read(chain).margin.risk().health_factor == health


def test_an_e_mode_with_a_price_of_its_own_is_unknown() -> None:
    chain = an_e_mode_chain(V30, HEALTH)
    set_category(chain, 1, (9_300, 9_500, 10_100), price_source=ETH_FEED)
    check_is_unknown(read(chain), "the e-mode category 1")


def test_an_e_mode_entered_later_is_unknown() -> None:
    adapter = found(an_aave_chain())
    check_is_unknown(
        read(an_e_mode_chain(V36, HEALTH, collateral=(WETH,)), adapter), "entered e-mode 1 after the keeper started"
    )


# Freshness ------------------------------------------------------------------------------------------------------------


def test_the_worst_of_the_feeds_in_use_is_the_accounts() -> None:
    stale = Stale("price feed USDC/USD is 100000 s old")
    assert read(an_aave_chain(), feeds={**FRESH, USDC_FEED: stale}).reading == stale
    # WBTC is supplied and counts for nothing: its price does not matter.
    assert read(an_aave_chain(), feeds={**FRESH, BTC_FEED: stale}).reading == Fresh()


def test_a_source_that_names_no_feeds_is_unverified() -> None:
    chain = an_aave_chain()
    chain.answer(CAPPED_USDC, OF_SOURCE["ASSET_TO_USD_AGGREGATOR"], returns=[ZERO_ADDRESS])
    reading = read(chain).reading
    assert isinstance(reading, FreshnessUnverified)
    assert "of USDC does not name its price feeds" in reading.reason
    assert read(chain).margin.risk().health_factor == HEALTH


def test_a_source_that_was_replaced_is_unverified() -> None:
    chain, adapter = an_aave_chain(), found(an_aave_chain())
    chain.answer(ORACLE, OF_ORACLE["getSourceOfAsset"], WETH, returns=[BTC_FEED])
    reading = read(chain, adapter).reading
    assert isinstance(reading, FreshnessUnverified)
    assert "another price source for WETH" in reading.reason


def test_a_source_without_decimals_is_no_aggregator() -> None:
    chain = an_aave_chain()
    chain.revert(ETH_FEED, OF_FEED["decimals"])
    assert found(chain).pool.reserves[0].feeds is None


# Named, and never healthy ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "reason"),
    [
        (CallResult(False, b""), "does not answer: reverted without a reason for WETH"),
        (CallResult(True, b""), "does not answer: 0 bytes instead of a price for WETH"),
        (CallResult(True, bytes(32)), "answers a price of zero for WETH"),
    ],
)
def test_a_price_that_cannot_be_read_makes_the_account_unknown(price: CallResult, reason: str) -> None:
    chain = an_aave_chain()
    chain.answer_raw(ORACLE, OF_ORACLE["getAssetPrice"].encode(WETH), price)
    check_is_unknown(read(chain), reason)


def test_the_price_of_what_is_not_in_use_does_not_matter() -> None:
    chain = an_aave_chain()
    chain.revert(ORACLE, OF_ORACLE["getAssetPrice"], WBTC)
    assert read(chain).reading == Fresh()


def test_a_pool_that_cannot_state_its_own_health_is_not_believed() -> None:
    chain = an_aave_chain()
    chain.revert(POOL, OF_POOL["getUserAccountData"], OWNER)
    check_is_unknown(read(chain), "the pool's own health does not answer: stale")


@pytest.mark.parametrize("health", [HEALTH - 1, HEALTH + 1, 0, UINT256_MAX])
def test_a_pool_that_disagrees_by_one_wei_is_not_believed(health: int) -> None:
    check_is_unknown(read(an_aave_chain(health=health)), f"its health is {health} and the keeper computes {HEALTH}")


def test_an_upgraded_pool_is_not_believed() -> None:
    adapter = found(an_aave_chain())
    check_is_unknown(read(an_aave_chain(11), adapter), "upgraded to revision 11 since the keeper started")


def test_an_asset_used_later_is_unknown_until_the_pool_is_read_anew() -> None:
    adapter = found(an_aave_chain(), assets=(WETH,))
    chain = an_aave_chain()
    set_account(chain, WETH_USED | USDC_OWED | WBTC_USED, HEALTH)
    check_is_unknown(read(chain, adapter), "uses an asset that it did not use when the keeper started")


def test_a_stable_debt_is_unknown_by_name() -> None:
    chain = an_aave_chain(V30)
    set_balance(chain, USDC, owed=16_600 * 10**6, stable=1)
    check_is_unknown(read(chain), "owes USDC at a stable rate")


def test_a_reserve_listed_anew_is_unknown() -> None:
    adapter = found(an_aave_chain())
    moved = replace(adapter.pool.reserves[0], a_token=SECOND)
    adapter = replace(adapter, pool=replace(adapter.pool, reserves=(moved, *adapter.pool.reserves[1:])))
    check_is_unknown(read(an_aave_chain(), adapter), "listed WETH anew")


def test_what_is_neither_used_nor_owed_is_only_named_when_it_cannot_be_read() -> None:
    chain = an_aave_chain()
    chain.revert(A_TOKENS[WBTC], OF_TOKEN["scaledBalanceOf"], OWNER)
    subaccount = read(chain)
    assert subaccount.reading == Fresh()
    assert subaccount.line(WBTC) is None
    assert subaccount.unread == ("the WBTC of aave 0x00…11cE WETH/USDC cannot be read: stale",)


NEEDED = [
    Call(POOL, OF_POOL["POOL_REVISION"].encode()),
    Call(POOL, OF_POOL["getUserConfiguration"].encode(OWNER)),
    Call(POOL, OF_POOL["getUserEMode"].encode(OWNER)),
    Call(POOL, OF_POOL["getUserAccountData"].encode(OWNER)),
    *(
        call
        for asset in (WETH, USDC)
        for call in (
            Call(POOL, OF_POOL["getReserveData"].encode(asset)),
            Call(POOL, OF_POOL["getReserveNormalizedIncome"].encode(asset)),
            Call(POOL, OF_POOL["getReserveNormalizedVariableDebt"].encode(asset)),
            Call(ORACLE, OF_ORACLE["getAssetPrice"].encode(asset)),
            Call(A_TOKENS[asset], OF_TOKEN["scaledBalanceOf"].encode(OWNER)),
            Call(DEBT_TOKENS[asset], OF_TOKEN["scaledBalanceOf"].encode(OWNER)),
        )
    ),
]
"""What health depends on."""


@pytest.mark.parametrize("broken", [CallResult(False, b""), *(CallResult(True, bytes(n)) for n in (0, 31, 33))])
def test_every_call_may_fail_and_none_of_them_makes_an_account_healthier(broken: CallResult) -> None:
    chain = an_aave_chain()
    adapter = found(chain)
    for call in adapter.read_calls():
        before = chain.results([call])
        chain.answer_raw(call.to, call.data, broken)
        subaccount = read(chain, adapter)
        assert isinstance(subaccount.reading, Unknown) is (call in NEEDED), call
        if call in NEEDED:
            check_is_unknown(subaccount, "")
        chain.answer_raw(call.to, call.data, *before)


@BOTH
@pytest.mark.parametrize(
    "broken", [CallResult(False, b""), *(CallResult(True, bytes(n)) for n in (0, 31, 32, 96, 192))]
)
def test_all_calls_may_fail(revision: int, broken: CallResult) -> None:
    adapter = found(an_e_mode_chain(revision, HEALTH))
    chain = an_aave_chain(revision)
    for call in adapter.read_calls():
        chain.answer_raw(call.to, call.data, broken)
    check_is_unknown(read(chain, adapter), "")


def test_the_provider_and_the_interfaces_are_what_discovery_asks() -> None:
    chain = an_aave_chain()
    chain.revert(PROVIDER, interface("AaveAddressesProvider")["getPriceOracle"])
    with pytest.raises(ProtocolError, match="does not name its price oracle"):
        found(chain)
    chain = an_aave_chain()
    set_price(chain, WETH, 0)
    assert found(chain) == found(an_aave_chain())


def test_a_guard_that_cannot_be_used_is_asked_no_permission_for() -> None:
    chain = an_aave_chain()
    set_balance(chain, WBTC)
    one = read(chain, problem="it is another contract")
    assert one.cannot_give == "the guard cannot be used: it is another contract"
    assert not any(line.movable_raw_max for line in one.collateral)
    assert not any("approve" in note for note in one.notes)
    assert "WBTC is not in use as collateral: switch it on with setUserUseReserveAsCollateral" in one.notes
    # It is still known what to ask for once there is a guard.
    assert found(chain).wants_manager(one)
