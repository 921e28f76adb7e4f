from decimal import Decimal

import pytest
from eth_abi.abi import decode
from eth_utils.crypto import keccak

from keeper.core.snapshot import GuardProtocol, SubaccountId, Token
from keeper.core.units import WAD, Address
from keeper.protocols.abi import ZERO_ADDRESS, address_bytes, interface
from keeper.protocols.base import Enrolment
from keeper.protocols.guard_setup import (
    DEPLOYER,
    Cap,
    Limits,
    OwnerCall,
    approve,
    approve_a_token,
    approve_on_aave,
    approve_shares,
    authorise_on_morpho,
    deploy_guard,
    deploy_library,
    enrol,
    guard_address,
    guard_init_code,
    guard_runtime_code,
    library_address,
    library_init_code,
    retire,
    set_caps,
    set_keeper,
    set_policy,
    unpause,
)
from keeper.protocols.permissions import Place
from tests.protocols.fakes import GUARD, KEEPER, MARKET, MORPHO, OWNER, WETH

WETH_TOKEN = Token(WETH, "WETH", 18)
POSITION = Enrolment(SubaccountId("morpho", MARKET), "WETH/USDC 86%", GuardProtocol.MORPHO, OWNER, MORPHO, MARKET, ())
WALLET = Enrolment(
    SubaccountId("wallet"), "wallet", GuardProtocol.WALLET, OWNER, ZERO_ADDRESS, "0x" + 64 * "0", (WETH,)
)  # fmt: skip


def limits(ceiling: str, survive: str, max_after: str, floor: str) -> Limits:
    return Limits(*(int(Decimal(health) * WAD) for health in (ceiling, survive, max_after, floor)))


LIMITS, NONE = limits("1.2", "1.05", "1.4", "1.02"), Limits(0, 0, 0, 0)


def arguments(call: OwnerCall, function: str) -> tuple[object, ...]:
    known = interface("MarginGuard")[function]
    assert (call.to, call.value_wei, call.data[:4]) == (GUARD, 0, known.selector)
    return decode(known.inputs, call.data[4:])


# The code -------------------------------------------------------------------------------------------------------------


def test_the_owner_is_the_only_thing_that_tells_two_guards_apart() -> None:
    ours, theirs = guard_runtime_code(OWNER), guard_runtime_code(KEEPER)
    assert len(ours) == len(theirs)
    assert ours != theirs
    owner_word, keeper_word = (bytes(12) + bytes.fromhex(who[2:]) for who in (OWNER, KEEPER))
    assert ours.replace(owner_word, keeper_word) == theirs
    assert guard_init_code(OWNER)[-32:] == owner_word
    assert guard_address(OWNER) != guard_address(KEEPER)


def test_the_guard_goes_through_the_deterministic_deployer() -> None:
    call = deploy_guard(OWNER)
    assert call.to == DEPLOYER == "0x4e59b44847b379578588920ca78fbf26c0b4956c"
    assert call.data == bytes(32) + guard_init_code(OWNER)
    assert guard_address(OWNER) in call.says


def test_the_library_is_where_its_code_puts_it_and_the_guard_names_it() -> None:
    call = deploy_library()
    assert (call.to, call.data, call.value_wei) == (DEPLOYER, bytes(32) + library_init_code(), 0)
    assert library_address() in call.says
    hashed = keccak(b"\xff" + address_bytes(DEPLOYER) + bytes(32) + keccak(library_init_code()))
    assert library_address() == "0x" + hashed[12:].hex()
    for code in (guard_init_code(OWNER), guard_runtime_code(OWNER)):
        assert address_bytes(library_address()) in code


# The owner's transactions ---------------------------------------------------------------------------------------------


def test_enrolling_says_what_each_account_may_do() -> None:
    call = enrol(GUARD, [(WALLET, NONE), (POSITION, LIMITS)])
    assert arguments(call, "enrol") == (
        (
            (0, OWNER, ZERO_ADDRESS, bytes(32), (WETH,), (0, 0, 0, 0)),
            (
                1, OWNER, MORPHO, bytes.fromhex(MARKET[2:]), (),
                (12 * 10**17, 105 * 10**16, 14 * 10**17, 102 * 10**16),
            ),
        ),
    )  # fmt: skip
    assert call.says == (
        "Enrols wallet (may give within its allowances and the caps); WETH/USDC 86% (receives only below health 1.2 "
        "and must then end between 1.05 and 1.4, is never left below 1.02 by giving)."
    )


def test_a_policy_is_changed_by_index() -> None:
    call = set_policy(GUARD, 3, POSITION, LIMITS)
    assert arguments(call, "setPolicy")[0] == 3
    assert call.says.startswith("Changes the limits of WETH/USDC 86%: receives only below health 1.2 ")


def test_retiring_is_for_good() -> None:
    call = retire(GUARD, {3: "WETH/USDC 86%", 5: "wallet"})
    assert arguments(call, "retire") == ((3, 5),)
    assert call.says == "Takes WETH/USDC 86%, wallet out of the guard for good."


@pytest.mark.parametrize(
    ("seconds", "window"),
    [
        (86_400, "day"),
        (172_800, "2 days"),
        (7_200, "2 hours"),
        (3_600, "hour"),
        (90 * 60, "90 minutes"),
        (61, "61 seconds"),
    ],
)
def test_caps_are_said_in_whole_tokens(seconds: int, window: str) -> None:
    call = set_caps(GUARD, [Cap(WETH_TOKEN, 1_250 * 10**16, seconds)])
    assert arguments(call, "setCaps") == (((WETH, 12_500_000_000_000_000_000, seconds),),)
    assert call.says == f"Lets at most 12.5 WETH in any {window} move between the accounts."


def test_the_keepers_power_is_said() -> None:
    call = set_keeper(GUARD, KEEPER)
    assert arguments(call, "setKeeper") == (KEEPER,)
    assert KEEPER in call.says
    assert "nothing to anybody else" in call.says


def test_unpausing() -> None:
    assert arguments(unpause(GUARD), "unpause") == ()


@pytest.mark.parametrize("is_authorised", [True, False])
def test_authorisation_on_morpho_is_given_to_the_guard_or_taken_back(is_authorised: bool) -> None:
    call = authorise_on_morpho(GUARD, MORPHO, is_authorised)
    assert call.to == MORPHO
    assert call.data[:4].hex() == "eecea000"
    assert decode(["address", "bool"], call.data[4:]) == (GUARD, is_authorised)
    assert ("all or nothing" in call.says) is is_authorised


@pytest.mark.parametrize(
    ("amount_raw", "says"),
    [
        (20 * 10**18, "Lets the guard take at most 20 WETH from the wallet, into the enrolled accounts only."),
        (12_345 * 10**17, "Lets the guard take at most 1,234.5 WETH from the wallet, into the enrolled accounts only."),
        (0, "Takes the guard's allowance of WETH back."),
    ],
)  # fmt: skip
def test_an_allowance_is_finite_and_said(amount_raw: int, says: str) -> None:
    call = approve(GUARD, WETH_TOKEN, amount_raw)
    assert (call.to, call.says) == (WETH, says)
    assert decode(["address", "uint256"], call.data[4:]) == (GUARD, amount_raw)


# Aave -----------------------------------------------------------------------------------------------------------------


def test_an_atoken_is_allowed_to_an_amount_and_the_allowance_taken_back() -> None:
    a_weth = Token(WETH, "aWETH", 18)
    given, taken = approve_a_token(GUARD, a_weth, 4 * 10**18), approve_a_token(GUARD, a_weth, 0)
    assert given.says.startswith("Lets the guard take at most 4 aWETH from this Aave account")
    assert (given.to, given.data) == (WETH, interface("ERC20")["approve"].encode(GUARD, 4 * 10**18))
    assert taken.says == "Takes the guard's allowance of aWETH back."
    assert taken.data == interface("ERC20")["approve"].encode(GUARD, 0)


def test_shares_of_a_sub_account_are_allowed_through_the_connector_and_the_owners_own_at_the_vault() -> None:
    share = Token(WETH, "eWETH", 18)
    approval = interface("ERC20")["approve"].encode(GUARD, 25 * 10**17)
    first = approve_shares(GUARD, Place(GuardProtocol.WALLET, WETH, OWNER), share, "euler 0 WETH", 25 * 10**17)
    assert (first.to, first.data) == (WETH, approval)
    evc, third = Address("0x" + "e5" * 20), Address("0x" + "33" * 20)
    place = Place(GuardProtocol.EULER, WETH, third, evc)
    given = approve_shares(GUARD, place, share, "euler 3 WETH/USDC", 25 * 10**17)
    assert (given.to, given.value_wei) == (evc, 0)
    assert given.data == interface("EVC")["call"].encode(WETH, third, 0, approval)
    assert given.says == (
        "Lets the guard take at most 2.5 eWETH (shares) from euler 3 WETH/USDC, into the enrolled accounts only, "
        "and as long as its vault finds the account healthy."
    )
    taken = approve_shares(GUARD, place, share, "euler 3", 0)
    assert taken.says == "Takes the guard's allowance of eWETH from euler 3 back."


@pytest.mark.parametrize("is_approved", [True, False])
def test_the_guard_becomes_a_position_manager_and_is_one_no_longer(is_approved: bool) -> None:
    call = approve_on_aave(GUARD, MORPHO, is_approved)
    assert (call.to, call.value_wei) == (MORPHO, 0)
    assert call.data == interface("AavePool")["approvePositionManager"].encode(GUARD, is_approved)
    assert ("neither withdraw nor borrow" in call.says) is is_approved
