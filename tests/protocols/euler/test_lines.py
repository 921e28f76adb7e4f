"""What of an account may move, and what is said where something may not."""

from dataclasses import replace

import pytest

from keeper.core.snapshot import (
    Fresh,
    GuardAccount,
    GuardProtocol,
    Token,
)
from keeper.protocols.abi import ZERO_ADDRESS
from tests.protocols.euler.fakes import (
    E_USDC,
    E_WETH,
    ETH_ORACLE,
    EVC,
    OF_EVC,
    OF_VAULT,
    SUB_0,
    SUB_3,
    WAD,
    add_vault,
    an_euler_chain,
    found,
    read,
    resolve,
    set_collaterals,
    set_debt,
    set_liquidity,
    set_ltv,
    set_shares,
    set_totals,
)
from tests.protocols.fakes import GUARD, NOW, OWNER, USDC, WETH, FakeChain, address

OF_WETH = Token(WETH, "WETH", 18)
KEY_3 = "0x" + "3".zfill(64)
SECOND = address(0xE4E3)


def test_an_allowance_is_counted_in_shares() -> None:
    chain = an_euler_chain()
    set_shares(chain, SUB_3, E_WETH, 10 * WAD, allowance=4 * WAD)
    one = read(chain)
    assert one.collateral[0].movable_raw_max == 4_400_000_000_000_000_000
    assert one.cannot_give is None
    assert one.notes == ("the guard may take 4 of 10 eWETH: approve more shares to make it available",)


def test_without_any_allowance_nothing_can_be_given() -> None:
    chain = an_euler_chain()
    set_shares(chain, SUB_3, E_WETH, 10 * WAD, allowance=0)
    one = read(chain)
    assert one.cannot_give == ("the guard may take 0 of 10 eWETH: approve more shares to make it available")
    assert one.reading == Fresh()


def test_an_allowance_that_cannot_be_read_is_none() -> None:
    chain = an_euler_chain()
    chain.revert(E_WETH, OF_VAULT["allowance"], SUB_3, GUARD)
    assert read(chain).cannot_give == "the guard's allowance of eWETH cannot be read: stale"


def test_an_infinite_allowance_moves_what_is_there() -> None:
    chain = an_euler_chain()
    set_shares(chain, SUB_3, E_WETH, 10 * WAD, allowance=2**256 - 1)
    assert read(chain).collateral[0].movable_raw_max == 11 * WAD


def test_without_a_guard_accounts_are_still_read() -> None:
    one = read(an_euler_chain(), adapter=found(an_euler_chain(), guard=None))
    assert one.cannot_give == "no guard is configured"
    assert one.margin.risk().health_factor == 1_168_750_000_000_000_000


def test_switched_off_permits_are_mentioned() -> None:
    chain = an_euler_chain()
    chain.answer(EVC, OF_EVC["isPermitDisabledMode"], bytes.fromhex(OWNER[2:40]), returns=[True])
    assert read(chain).notes == ("the owner's EVC permits are disabled; nothing here is done by permit",)


@pytest.mark.parametrize(
    ("target", "operations", "is_open"),
    [(ZERO_ADDRESS, 16, False), (ZERO_ADDRESS, 15, True), (ZERO_ADDRESS, 32, True), (address(7), 16, True)],
)
def test_transfers_are_disabled_by_their_bit_without_a_hook(target: str, operations: int, is_open: bool) -> None:
    chain = an_euler_chain()
    chain.answer(E_WETH, OF_VAULT["hookConfig"], returns=[target, operations])
    one = read(chain)
    assert (one.cannot_give is None) is is_open
    assert (one.collateral[0].movable_raw_max > 0, one.collateral[0].receivable_raw_max > 0) == (is_open, is_open)


def test_hooks_that_cannot_be_read_close_the_vault() -> None:
    chain = an_euler_chain()
    chain.revert(E_WETH, OF_VAULT["hookConfig"])
    assert read(chain).cannot_give == "which operations eWETH allows cannot be read: stale"


def test_a_vault_that_is_not_enrolled_cannot_give() -> None:
    key = (GuardProtocol.EULER, OWNER, EVC, KEY_3)
    account = GuardAccount(
        7, GuardProtocol.EULER, OWNER, EVC, KEY_3, (USDC,), 1, 1, 1, 1, is_live=True, forms=(E_USDC,)
    )
    one = read(an_euler_chain(), enrolled={key: account})
    assert one.guard_index == 7
    assert one.cannot_give == "eWETH is not enrolled in the guard, so it cannot move; `keeper setup` enrols it"
    assert one.collateral[0].receivable_raw_max == 0
    enrolled = replace(account, assets=(USDC, WETH), forms=(E_USDC, E_WETH))
    one = read(an_euler_chain(), enrolled={key: enrolled})
    assert (one.cannot_give, one.cannot_receive) == (None, None)


def test_an_account_whose_controller_is_not_enrolled_takes_no_part() -> None:
    key = (GuardProtocol.EULER, OWNER, EVC, KEY_3)
    account = GuardAccount(
        7, GuardProtocol.EULER, OWNER, EVC, KEY_3, (WETH,), 1, 1, 1, 1, is_live=True, forms=(E_WETH,)
    )
    one = read(an_euler_chain(), enrolled={key: account})
    why = "its controller eUSDC is not enrolled in the guard; `keeper setup` enrols it anew"
    assert (one.cannot_give, one.cannot_receive) == (why, why)


@pytest.mark.parametrize(
    ("cash", "operations", "withdrawable", "suppliable"),
    [
        (11 * WAD, 0, None, None),
        (11 * WAD - 1, 0, 11 * WAD - 1, None),
        (11 * WAD, 1 << 2, 0, None),
        (11 * WAD, 1 << 0, None, 0),
    ],
)
def test_what_is_lent_out_or_closed_moves_within_euler_alone(
    cash: int, operations: int, withdrawable: int | None, suppliable: int | None
) -> None:
    chain = an_euler_chain()
    chain.answer(E_WETH, OF_VAULT["cash"], returns=[cash])
    chain.answer(E_WETH, OF_VAULT["hookConfig"], returns=[ZERO_ADDRESS, operations])
    (line,) = read(chain).collateral
    assert (line.withdrawable_raw_max, line.suppliable_raw_max) == (withdrawable, suppliable)
    assert (line.movable_raw_max, line.receivable_raw_max) == (11 * WAD, 2**112 - 1 - 11 * WAD)


# 1,100.0000000000001 WETH are in the vault.
@pytest.mark.parametrize(
    ("cap", "suppliable"),
    [
        (0, None),  # none at all
        (120 << 6 | 21, 10**20 - 100_000),  # 1,200 WETH: 1.20 times 10^21
        (112 << 6 | 21, 20 * WAD - 100_000),
        (110 << 6 | 21, 0),
        (1, 0),  # a mantissa of zero is a cap of zero
    ],
)
def test_a_supply_cap_limits_what_arrives_from_outside_and_not_shares(cap: int, suppliable: int | None) -> None:
    chain = an_euler_chain()
    chain.answer(E_WETH, OF_VAULT["caps"], returns=[cap, 0])
    chain.answer(E_WETH, OF_VAULT["cash"], returns=[1_100 * WAD])
    one = read(chain)
    (line,) = one.collateral
    assert line.suppliable_raw_max == suppliable
    assert line.receivable_raw_max == 2**112 - 1 - 11 * WAD
    assert ("eWETH is at its supply cap; only shares can arrive" in one.notes) is (suppliable == 0)


def test_interest_of_five_minutes_is_kept_free_under_a_supply_cap() -> None:
    """600 WETH are lent at 1e-9 a second."""
    chain = an_euler_chain()
    chain.answer(E_WETH, OF_VAULT["caps"], returns=[120 << 6 | 21, 0])
    chain.answer(E_WETH, OF_VAULT["cash"], returns=[500 * WAD + 100_000])
    chain.answer(E_WETH, OF_VAULT["interestRate"], returns=[10**18])
    (line,) = read(chain).collateral
    assert line.suppliable_raw_max == 10**20 - 100_000 - 180_000_000_000_000


def test_a_supply_cap_that_cannot_be_read_lets_only_shares_in() -> None:
    chain = an_euler_chain()
    chain.revert(E_WETH, OF_VAULT["caps"])
    one = read(chain)
    assert one.collateral[0].suppliable_raw_max == 0
    assert any("the supply cap of eWETH cannot be read" in note for note in one.notes)


def test_cash_that_cannot_be_read_is_none() -> None:
    chain = an_euler_chain()
    chain.revert(E_WETH, OF_VAULT["cash"])
    (line,) = read(chain).collateral
    assert (line.movable_raw_max, line.withdrawable_raw_max) == (11 * WAD, 0)


@pytest.mark.parametrize(("borrow", "is_said"), [(20_000, True), (20_001, False)])
def test_an_account_at_1_at_the_borrow_ltv_can_give_nothing(borrow: int, is_said: bool) -> None:
    """Equality is refused: C > L is what the contract asks."""
    chain = an_euler_chain()
    owed = 22_000 * WAD * 20_000 // borrow
    debt = owed // 10**12
    set_debt(chain, SUB_3, debt)
    set_liquidity(chain, SUB_3, (23_375 * WAD, debt * 10**12), (22_000 * WAD, debt * 10**12))
    one = read(chain)
    assert one.margin.risk().lets_collateral_leave is not is_said
    assert ("it is not above 1 at the borrow LTV, so none of its shares may leave" in one.notes) is is_said


@pytest.mark.parametrize(("seconds_ago", "is_said"), [(59, True), (60, False)])
def test_an_account_that_was_just_checked_cannot_be_liquidated_yet(seconds_ago: int, is_said: bool) -> None:
    chain = an_euler_chain()
    set_debt(chain, SUB_3, 23_375 * 10**6)
    set_liquidity(chain, SUB_3, (23_375 * WAD, 23_375 * WAD), (22_000 * WAD, 23_375 * WAD))
    chain.answer(EVC, OF_EVC["getLastAccountStatusCheckTimestamp"], SUB_3, returns=[NOW - seconds_ago])
    one = read(chain)
    assert one.margin.risk().is_liquidatable
    assert (f"it cannot be liquidated until {NOW + 1}, the end of its cool-off" in one.notes) is is_said


# Several vaults -------------------------------------------------------------------------------------------------------


def a_second_weth_vault() -> FakeChain:
    """eWETH-2, a share of which is one WETH; sub-account 3 has 2 of them as collateral too, worth 5,000 USD."""
    chain = an_euler_chain()
    add_vault(chain, SECOND, "eWETH-2", WETH, 18, takes=[])
    set_totals(chain, SECOND, 10**20, 10**20)
    for number in range(256):
        chain.answer(SECOND, OF_VAULT["balanceOf"], address(0xA11CE ^ number), returns=[0])
    set_ltv(chain, E_USDC, SECOND, 8_000, 8_500)
    resolve(chain, SECOND, WETH, ETH_ORACLE)
    set_shares(chain, SUB_0, SECOND, 0)
    set_shares(chain, SUB_3, SECOND, 2 * WAD)
    set_collaterals(chain, SUB_3, [E_WETH, SECOND])
    set_liquidity(chain, SUB_3, (27_625 * WAD, 20_000 * WAD), (26_000 * WAD, 20_000 * WAD))
    return chain


def test_a_second_vault_of_the_same_token_counts_but_does_not_move() -> None:
    chain = a_second_weth_vault()
    adapter = found(chain, vaults=[E_WETH, E_USDC, SECOND])
    one = read(chain, adapter=adapter)
    first, second = one.collateral
    assert (first.token, second.token) == (OF_WETH, Token(SECOND, "eWETH-2", 18))
    assert (second.amount_raw, second.movable_raw_max, second.receivable_raw_max) == (2 * WAD, 0, 0)
    assert second.price == 2_500 * WAD
    assert one.margin.risk().collateral_value == 27_625 * WAD
    assert one.margin.risk(falls_bps={WETH: 1_000}).collateral_value == 24_862_500_000_000_000_000_000
    assert "eWETH-2 counts, but does not move: of several vaults of WETH one does" in one.notes
    assert second.token in adapter.tokens()
    assert one.label == "euler 3 WETH/USDC"


def test_of_two_vaults_of_a_token_the_one_with_more_in_it_moves() -> None:
    """11 WETH are in eWETH, and 12 in eWETH-2."""
    chain = a_second_weth_vault()
    set_shares(chain, SUB_3, SECOND, 12 * WAD)
    set_liquidity(chain, SUB_3, (48_875 * WAD, 20_000 * WAD), (46_000 * WAD, 20_000 * WAD))
    adapter = found(chain, vaults=[E_WETH, E_USDC, SECOND])
    first, second = read(chain, adapter=adapter).collateral
    assert (first.token, second.token) == (Token(E_WETH, "eWETH", 18), OF_WETH)
    assert (first.movable_raw_max, first.receivable_raw_max, first.amount_raw) == (0, 0, 11 * WAD)
    assert second.movable_raw_max > 0
    assert second.receivable_raw_max > 0
    assert first.token in adapter.tokens()


@pytest.mark.parametrize("obstacle", ["not enrolled", "closed", "no allowance", "allowance unread"])
def test_of_two_vaults_of_a_token_one_that_cannot_move_keeps_no_other_from_moving(obstacle: str) -> None:
    """11 WETH are in eWETH, and 12 in eWETH-2."""
    chain = a_second_weth_vault()
    set_shares(chain, SUB_3, SECOND, 12 * WAD, allowance=0 if obstacle == "no allowance" else None)
    set_liquidity(chain, SUB_3, (48_875 * WAD, 20_000 * WAD), (46_000 * WAD, 20_000 * WAD))
    if obstacle == "closed":
        chain.answer(SECOND, OF_VAULT["hookConfig"], returns=[ZERO_ADDRESS, 1 << 4])
    if obstacle == "allowance unread":
        chain.revert(SECOND, OF_VAULT["allowance"], SUB_3, GUARD)
    forms = (E_USDC, E_WETH) if obstacle == "not enrolled" else (E_USDC, E_WETH, SECOND)
    key = (GuardProtocol.EULER, OWNER, EVC, KEY_3)
    enrolled = GuardAccount(
        7, GuardProtocol.EULER, OWNER, EVC, KEY_3, (USDC, WETH), 1, 1, 1, 1, is_live=True, forms=forms
    )
    one = read(chain, adapter=found(chain, vaults=[E_WETH, E_USDC, SECOND]), enrolled={key: enrolled})
    line = one.line(WETH)
    assert line is not None
    assert (line.form, line.movable_raw_max) == (E_WETH, 11 * WAD)
    assert line.receivable_raw_max > 0
    assert one.cannot_give is None
    assert "eWETH-2 counts, but does not move: of several vaults of WETH one does" in one.notes


def test_where_no_vault_of_a_token_can_move_the_larger_ones_obstacle_is_named() -> None:
    chain = a_second_weth_vault()
    set_shares(chain, SUB_3, E_WETH, 10 * WAD, allowance=0)
    set_shares(chain, SUB_3, SECOND, 12 * WAD, allowance=0)
    set_liquidity(chain, SUB_3, (48_875 * WAD, 20_000 * WAD), (46_000 * WAD, 20_000 * WAD))
    one = read(chain, adapter=found(chain, vaults=[E_WETH, E_USDC, SECOND]))
    assert one.line(WETH) == one.collateral[1]
    assert one.cannot_give is not None
    assert "the guard may take 0 of 12 eWETH-2: approve more shares" in one.cannot_give


def test_a_vault_that_counts_but_may_not_give_receives_before_one_that_gives_and_does_not_count() -> None:
    """What an account that owes can receive decides: eWETH is enabled no more."""
    chain = a_second_weth_vault()
    set_shares(chain, SUB_3, SECOND, 2 * WAD, allowance=0)
    set_collaterals(chain, SUB_3, [SECOND])
    set_liquidity(chain, SUB_3, (4_250 * WAD, 20_000 * WAD), (4_000 * WAD, 20_000 * WAD))
    line = read(chain, adapter=found(chain, vaults=[E_WETH, E_USDC, SECOND])).line(WETH)
    assert line is not None
    assert (line.form, line.movable_raw_max) == (SECOND, 0)
    assert line.receivable_raw_max > 0


def test_a_vault_that_counts_moves_before_a_larger_one_that_does_not() -> None:
    """2 WETH are in eWETH-2, and 11 in eWETH, which is enabled no more."""
    chain = a_second_weth_vault()
    set_collaterals(chain, SUB_3, [SECOND])
    set_liquidity(chain, SUB_3, (4_250 * WAD, 20_000 * WAD), (4_000 * WAD, 20_000 * WAD))
    one = read(chain, adapter=found(chain, vaults=[E_WETH, E_USDC, SECOND]))
    assert [(line.form, line.token.symbol) for line in one.collateral] == [(SECOND, "WETH"), (E_WETH, "eWETH")]
    assert "eWETH does not move: of several vaults of WETH one does" in one.notes


def test_a_vault_that_is_empty_keeps_no_other_from_moving() -> None:
    """eWETH is enabled first, and all 2 WETH are in eWETH-2."""
    chain = a_second_weth_vault()
    set_shares(chain, SUB_3, E_WETH, 0)
    set_liquidity(chain, SUB_3, (4_250 * WAD, 2_000 * WAD), (4_000 * WAD, 2_000 * WAD))
    chain.answer(E_USDC, OF_VAULT["debtOf"], SUB_3, returns=[2_000 * 10**6])
    one = read(chain, adapter=found(chain, vaults=[E_WETH, E_USDC, SECOND]))
    line = one.line(WETH)
    assert line is not None
    assert (line.form, line.amount_raw) == (SECOND, 2 * WAD)
    assert line.movable_raw_max > 0
    assert one.notes == ()


def test_shares_that_are_not_enabled_do_not_count() -> None:
    chain = a_second_weth_vault()
    set_collaterals(chain, SUB_3, [SECOND])
    set_liquidity(chain, SUB_3, (4_250 * WAD, 20_000 * WAD), (4_000 * WAD, 20_000 * WAD))
    one = read(chain, adapter=found(chain, vaults=[E_WETH, E_USDC, SECOND]))
    assert [line.token.symbol for line in one.collateral] == ["WETH", "eWETH"]
    assert [line.maintenance_weight for line in one.collateral] == [2_125 * WAD, 0]
    assert one.margin.risk().collateral_value == 4_250 * WAD
    assert "eWETH does not count: it is not enabled as collateral (EVC.enableCollateral)" in one.notes


def test_a_guard_that_cannot_be_used_is_asked_no_permission_for() -> None:
    chain = an_euler_chain()
    set_shares(chain, SUB_3, E_WETH, 10 * WAD, allowance=4 * WAD)
    one = read(chain, problem="it is another contract")
    assert one.cannot_give == "the guard cannot be used: it is another contract"
    assert not any(line.movable_raw_max for line in one.collateral)
    assert one.notes == ()
