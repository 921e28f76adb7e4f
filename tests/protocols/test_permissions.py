"""Which permissions are asked about, and which of them are of no use any more."""

import pytest

from keeper.core.snapshot import GuardAccount, GuardProtocol, GuardState, SubaccountId
from keeper.core.units import Address
from keeper.protocols.abi import ZERO_ADDRESS, interface
from keeper.protocols.base import Call, CallResult, Enrolment
from keeper.protocols.permissions import (
    UNLIMITED_RAW,
    Permission,
    Place,
    decode_permissions,
    permission_calls,
    places,
    questions,
)
from tests.protocols.fakes import GUARD, KEEPER, MARKET, MORPHO, OWNER, WBTC, WETH, address

FRIEND = address(0xF1)
AUTHORISATION = Place(GuardProtocol.MORPHO, MORPHO, OWNER)
OWNERS_WETH = Place(GuardProtocol.WALLET, WETH, OWNER)
FRIENDS_WBTC = Place(GuardProtocol.WALLET, WBTC, FRIEND)


def an_account(index: int, *assets: Address, holder: Address = OWNER, is_live: bool = True) -> GuardAccount:
    """A wallet with these tokens, a Morpho position without."""
    protocol, target, key = GuardProtocol.WALLET, ZERO_ADDRESS, "0x" + 64 * "0"
    if not assets:
        protocol, target, key, assets = GuardProtocol.MORPHO, MORPHO, MARKET, (WETH,)
    return GuardAccount(index, protocol, holder, target, key, assets, 0, 0, 0, 0, is_live=is_live)


def a_guard(*accounts: GuardAccount) -> GuardState:
    return GuardState(GUARD, OWNER, KEEPER, False, 0, accounts, {})


def word(value: int) -> CallResult:
    return CallResult(True, value.to_bytes(32))


def test_what_was_ever_enrolled_is_asked_about_once_and_the_owners_tokens_too() -> None:
    guard = a_guard(
        an_account(0), an_account(1), an_account(2, WETH, is_live=False), an_account(3, WBTC, holder=FRIEND)
    )
    owners_wbtc = Place(GuardProtocol.WALLET, WBTC, OWNER)
    assert questions(guard, [WETH, WBTC]) == (AUTHORISATION, OWNERS_WETH, FRIENDS_WBTC, owners_wbtc)
    assert permission_calls(guard, [AUTHORISATION, FRIENDS_WBTC]) == [
        Call(MORPHO, interface("Morpho")["isAuthorized"].encode(OWNER, GUARD)),
        Call(WBTC, interface("ERC20")["allowance"].encode(FRIEND, GUARD)),
    ]


def test_a_position_needs_an_authorisation_and_a_wallet_an_allowance_of_each_token() -> None:
    assert places([an_account(0), an_account(1, WETH, WBTC)]) == (
        AUTHORISATION, OWNERS_WETH, Place(GuardProtocol.WALLET, WBTC, OWNER),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("is_live", "answer", "permission", "is_left_behind"),
    [
        (True, word(5), Permission(OWNERS_WETH, 5, True), False),
        (True, word(0), Permission(OWNERS_WETH, 0, True), False),
        (True, CallResult(False, b""), Permission(OWNERS_WETH, None, True), False),
        (False, word(1), Permission(OWNERS_WETH, 1, False), True),
        (False, CallResult(False, b""), Permission(OWNERS_WETH, None, False), True),
        (False, CallResult(True, b"\x01"), Permission(OWNERS_WETH, None, False), True),
        (False, word(0), None, None),
    ],
)
def test_a_permission_is_left_behind_when_no_live_account_needs_it(
    is_live: bool, answer: CallResult, permission: Permission | None, is_left_behind: bool | None
) -> None:
    guard = a_guard(an_account(0, WETH, is_live=is_live))
    found = decode_permissions(guard, [OWNERS_WETH], [answer])
    assert found == (() if permission is None else (permission,))
    assert [each.is_left_behind for each in found] == ([] if is_left_behind is None else [is_left_behind])


@pytest.mark.parametrize(
    ("place", "amount_raw", "is_unlimited"),
    [
        (OWNERS_WETH, (1 << 128) - 1, False),
        (OWNERS_WETH, 1 << 128, True),
        (OWNERS_WETH, (1 << 256) - 1, True),
        (OWNERS_WETH, None, False),
        (AUTHORISATION, 1, False),
    ],
)
def test_an_allowance_that_no_balance_exceeds_is_no_limit(
    place: Place, amount_raw: int | None, is_unlimited: bool
) -> None:
    assert Permission(place, amount_raw, True).is_unlimited is is_unlimited


# Aave -----------------------------------------------------------------------------------------------------------------

POOL, A_WETH = address(0xAA), address(0xA1)
A_TOKENS = {(POOL, WETH): A_WETH}
ALLOWANCE = Place(GuardProtocol.WALLET, A_WETH, FRIEND)
MANAGER = Place(GuardProtocol.AAVE, POOL, FRIEND)


def an_aave_account(*, is_live: bool = True) -> GuardAccount:
    key = "0x" + 64 * "0"
    return GuardAccount(0, GuardProtocol.AAVE, FRIEND, POOL, key, (WETH, WBTC), 0, 0, 0, 0, is_live=is_live)


def test_an_aave_account_needs_an_allowance_of_each_atoken_that_is_known() -> None:
    assert places([an_aave_account()], A_TOKENS) == (ALLOWANCE,)
    assert places([an_aave_account()]) == ()


def test_an_aave_account_is_asked_for_its_position_manager_too() -> None:
    guard = a_guard(an_aave_account())
    owners_a_weth = Place(GuardProtocol.WALLET, A_WETH, OWNER)
    assert questions(guard, [ZERO_ADDRESS], A_TOKENS) == (ALLOWANCE, MANAGER, owners_a_weth)
    assert permission_calls(guard, [ALLOWANCE, MANAGER]) == [
        Call(A_WETH, interface("ERC20")["allowance"].encode(FRIEND, GUARD)),
        Call(POOL, interface("AavePool")["isApprovedPositionManager"].encode(FRIEND, GUARD)),
    ]


@pytest.mark.parametrize(
    ("is_live", "answer", "permission", "is_left_behind"),
    [
        (True, word(1), Permission(MANAGER, 1, True), False),
        (True, word(0), None, None),  # it may do without
        (True, CallResult(False, b""), None, None),  # Aave v3.0 knows no position managers
        (False, word(1), Permission(MANAGER, 1, False), True),
        (False, word(0), None, None),
        (False, CallResult(False, b""), None, None),
        (False, CallResult(True, b""), Permission(MANAGER, None, False), True),
    ],
)
def test_a_position_manager_is_left_behind_when_no_live_account_is_there(
    is_live: bool, answer: CallResult, permission: Permission | None, is_left_behind: bool | None
) -> None:
    found = decode_permissions(a_guard(an_aave_account(is_live=is_live)), [MANAGER], [answer], A_TOKENS)
    assert found == (() if permission is None else (permission,))
    assert [each.is_left_behind for each in found] == ([] if is_left_behind is None else [is_left_behind])


# Euler ----------------------------------------------------------------------------------------------------------------

EVC, E_WETH, E_USDC = address(0xE5C), address(0xE4E1), address(0xE4E2)
SUB_3 = address(0xA11CD)
"""The owner is 0x…a11ce."""
SHARES_3 = Place(GuardProtocol.EULER, E_WETH, SUB_3, EVC)
SHARES_0 = Place(GuardProtocol.WALLET, E_WETH, OWNER)


def a_sub_account(number: int, *, is_live: bool = True) -> GuardAccount:
    key = f"0x{number:064x}"
    return GuardAccount(
        0, GuardProtocol.EULER, OWNER, EVC, key, (WETH, WETH), 0, 0, 0, 0, is_live=is_live, forms=(E_WETH, E_USDC)
    )


def test_a_sub_account_needs_an_allowance_of_each_vaults_shares() -> None:
    assert places([a_sub_account(3)]) == (SHARES_3, Place(GuardProtocol.EULER, E_USDC, SUB_3, EVC))
    key = f"0x{3:064x}"
    enrolment = Enrolment(SubaccountId("euler", "3"), "euler 3", GuardProtocol.EULER, OWNER, EVC, key, (E_WETH,))
    assert places([enrolment]) == (SHARES_3,)
    assert permission_calls(a_guard(), [SHARES_3]) == [
        Call(E_WETH, interface("ERC20")["allowance"].encode(SUB_3, GUARD))
    ]


def test_the_first_sub_account_is_the_owner_and_asked_about_once() -> None:
    assert places([a_sub_account(0)])[0] == SHARES_0
    assert questions(a_guard(a_sub_account(0)), [E_WETH]) == places([a_sub_account(0)])


@pytest.mark.parametrize(
    ("place", "is_owners"),
    [
        (SHARES_0, True),
        (SHARES_3, True),
        (Place(GuardProtocol.EULER, E_WETH, address(0xA1100), EVC), True),
        (Place(GuardProtocol.EULER, E_WETH, address(0xA12CD), EVC), False),
        (Place(GuardProtocol.WALLET, E_WETH, SUB_3), False),
    ],
)
def test_the_owner_permits_for_all_256_sub_accounts(place: Place, is_owners: bool) -> None:
    assert place.is_permitted_by(OWNER) is is_owners


@pytest.mark.parametrize(("is_live", "is_left_behind"), [(True, False), (False, True)])
def test_shares_that_a_retired_sub_account_allowed_are_left_behind(is_live: bool, is_left_behind: bool) -> None:
    guard = a_guard(a_sub_account(3, is_live=is_live))
    (found,) = decode_permissions(guard, [SHARES_3], [word(UNLIMITED_RAW)])
    assert (found.is_left_behind, found.is_unlimited) == (is_left_behind, True)
