from collections.abc import Callable

import pytest
from eth_abi.abi import encode

from keeper.core.snapshot import GuardAccount, GuardProtocol, GuardState, Unknown
from keeper.core.units import Address
from keeper.errors import ProtocolError
from keeper.protocols.abi import ZERO_ADDRESS, CustomError, interface
from keeper.protocols.base import CallResult, Log
from keeper.protocols.guard import (
    GuardReader,
    Moved,
    Rescued,
    RescueFailed,
    RescueResult,
    decode_events,
    decode_nothing_rescued,
    decode_results,
    enrolled,
    explain_guard_revert,
)
from tests.protocols.fakes import (
    GUARD,
    KEEPER,
    MARKET,
    MORPHO,
    OWNER,
    USDC,
    WBTC,
    WETH,
    FakeChain,
    a_chain,
    address,
    set_guard,
)

ABI = interface("MarginGuard")
READER = GuardReader(GUARD, OWNER, (WETH, WBTC))
INSUFFICIENT = bytes.fromhex("08c379a0") + encode(["string"], ["insufficient collateral"])


def read(chain: FakeChain) -> GuardState | Unknown:
    return READER.decode(chain.results(READER.read_calls()))


def refusal(name: str, *values: object) -> bytes:
    error = next(error for error in ABI.errors.values() if error.name == name)
    return error.selector + encode(error.inputs, values)


# State ----------------------------------------------------------------------------------------------------------------


def test_the_guards_state_is_read() -> None:
    wallet = GuardAccount(
        0, GuardProtocol.WALLET, OWNER, ZERO_ADDRESS, "0x" + 64 * "0", (WETH,), 0, 0, 0, 0, is_live=True, forms=(WETH,)
    )  # fmt: skip
    position = GuardAccount(
        1, GuardProtocol.MORPHO, OWNER, MORPHO, MARKET, (WETH, USDC),
        1_200_000_000_000_000_000, 1_050_000_000_000_000_000, 1_400_000_000_000_000_000, 1_020_000_000_000_000_000,
        is_live=True, forms=(MORPHO, ZERO_ADDRESS),
    )  # fmt: skip
    assert read(a_chain()) == GuardState(
        GUARD, OWNER, KEEPER, False, 41, (wallet, position), {WETH: 60_000_000_000_000_000_000, WBTC: 0}
    )


@pytest.mark.parametrize(("retired", "joined"), [(True, True), (False, False)])
def test_an_account_that_was_retired_or_whose_holder_left_is_not_live(retired: bool, joined: bool) -> None:
    chain = a_chain()
    set_guard(chain, retired=retired, joined=joined)
    state = read(chain)
    assert isinstance(state, GuardState)
    assert [account.is_live for account in state.accounts] == [True, False]
    assert list(enrolled(state.accounts)) == [(GuardProtocol.WALLET, OWNER, ZERO_ADDRESS, "0x" + 64 * "0")]


def no_guard(chain: FakeChain) -> None:
    for call in READER.read_calls():
        chain.answer_raw(call.to, call.data, CallResult(True, b""))


def another_contract(chain: FakeChain) -> None:
    chain.revert(GUARD, ABI["remainingCap"], WBTC, data=b"")


def somebody_elses(chain: FakeChain) -> None:
    set_guard(chain, owner=address(0xBAD))


def nonsense(chain: FakeChain) -> None:
    chain.answer_raw(GUARD, ABI["accounts"].encode(), CallResult(True, b"\x01" * 40))


def unknown_protocol(chain: FakeChain) -> None:
    account = (7, False, True, OWNER, ZERO_ADDRESS, bytes(32), [(WETH, WETH, ZERO_ADDRESS)], (0, 0, 0, 0))
    chain.answer(GUARD, ABI["accounts"], returns=[[account]])


@pytest.mark.parametrize(
    ("breaks", "reason"),
    [
        (no_guard, f"there is no guard at {GUARD}; `keeper setup` deploys it"),
        (another_contract, f"what is at {GUARD} does not answer as a guard; correct its address"),
        (
            somebody_elses,
            f"the guard at {GUARD} belongs to {address(0xBAD)}, not to {OWNER}; correct its address",
        ),
        (
            unknown_protocol,
            f"the guard at {GUARD} answers nonsense: account 0 is of protocol 7, which this keeper does not know",
        ),
    ],
)
def test_what_is_no_guard_of_ours_is_named(breaks: Callable[[FakeChain], None], reason: str) -> None:
    chain = a_chain()
    breaks(chain)
    assert read(chain) == Unknown(reason)


def test_accounts_that_cannot_be_decoded_are_named() -> None:
    chain = a_chain()
    nonsense(chain)
    state = read(chain)
    assert isinstance(state, Unknown)
    assert "answers nonsense: accounts answered 40 bytes" in state.reason


# Answers --------------------------------------------------------------------------------------------------------------

RESULTS = [
    (True, 1_040_000_000_000_000_000, 1_250_000_000_000_000_000, 171_234, b""),
    (False, 0, 0, 90_000, INSUFFICIENT),
]
DECODED = (
    RescueResult(True, 1_040_000_000_000_000_000, 1_250_000_000_000_000_000, 171_234, b""),
    RescueResult(False, 0, 0, 90_000, INSUFFICIENT),
)


def test_the_results_of_a_batch_are_read() -> None:
    assert decode_results(encode(ABI["rebalance"].outputs, [RESULTS])) == DECODED


def test_results_that_are_cut_are_a_fault() -> None:
    with pytest.raises(ProtocolError, match="rebalance answered"):
        decode_results(encode(ABI["rebalance"].outputs, [RESULTS])[:-64])


def test_the_results_inside_a_revert_are_read() -> None:
    assert decode_nothing_rescued(refusal("NothingRescued", RESULTS)) == DECODED


@pytest.mark.parametrize("data", [b"", INSUFFICIENT, refusal("GuardIsPaused"), refusal("NothingRescued", RESULTS)[:99]])
def test_another_revert_has_no_results(data: bytes) -> None:
    assert decode_nothing_rescued(data) is None


# Events ---------------------------------------------------------------------------------------------------------------


def log(name: str, indexed: list[int], *values: object, at: Address = GUARD) -> Log:
    event = ABI.events[name]
    return Log(at, (event.topic, *(value.to_bytes(32) for value in indexed)), encode(event.inputs, values))


def test_what_a_batch_did_is_read_from_its_logs() -> None:
    plan = b"\x07" * 32
    number = int.from_bytes(plan)
    logs = [
        log("Moved", [number, 4, 1], WETH, 10**18),
        log("Rescued", [number, 1], 104 * 10**16, 125 * 10**16),
        log("RescueFailed", [number, 1], INSUFFICIENT),
        log("Rescued", [number, 9], 1, 2, at=MORPHO),  # another contract's
        log("KeeperSet", [5]),
        Log(GUARD, (), b""),
    ]
    assert decode_events(GUARD, logs) == [
        Moved(plan, 4, 1, WETH, 1_000_000_000_000_000_000),
        Rescued(plan, 1, 1_040_000_000_000_000_000, 1_250_000_000_000_000_000),
        RescueFailed(plan, 1, INSUFFICIENT),
    ]


# Refusals -------------------------------------------------------------------------------------------------------------

NAMES = {1: "WETH/USDC 86%", 2: "WETH/DAI 77%"}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (refusal("GuardIsPaused"), "the guard is paused; only the owner can unpause it"),
        (
            refusal("WrongSequence", 42, 43),
            "the plan has sequence number 42, the guard expects 43: another plan was first",
        ),
        (
            refusal("RecipientIsHealthy", 1, 1_219_999_999_999_999_999, 12 * 10**17),
            "WETH/USDC 86% has health 1.2199, not below its rescue ceiling 1.2000",
        ),
        (
            refusal("DonorBelowHardFloor", 2, 1_019_990_000_000_000_000, 102 * 10**16),
            "WETH/DAI 77% would be left with health 1.0199, below its hard floor 1.0200",
        ),
        (refusal("AccountIsRetired", 3), "account 3 was retired"),
        (
            refusal("CapExceeded", WETH, 5, 4),
            "moving 5 raw units of 0x0000…00e1 exceeds the owner's cap, 4 are left",
        ),
        (
            refusal("UnderlyingsDiffer", WETH, WBTC),
            "the tokens differ: 0x0000…00e1 is given, 0x0000…00e3 is taken",
        ),
        (
            refusal("WrongKind", 1, 2, 0),
            "the kind of the transfer from WETH/USDC 86% to WETH/DAI 77% is not the one that this pair takes",
        ),
        (
            refusal("GasTooLow", 1, 640_000),
            "the transaction has too little gas for rescue 1: 640000 must be left before it",
        ),
        (INSUFFICIENT, "insufficient collateral"),
        (b"", "reverted without a reason"),
        (refusal("AccountIsRetired", 3)[:20], f"reverted with 0x{refusal('AccountIsRetired', 3)[:20].hex()}"),
        (
            refusal(
                "NothingRescued",
                [(False, 0, 0, 9, INSUFFICIENT), (False, 0, 0, 9, refusal("RecipientHasNoDebt", 2))],
            ),
            (
                "no rescue took effect (rescue 0: insufficient collateral; "
                "rescue 1: WETH/DAI 77% owes nothing, so it needs no rescue)"
            ),
        ),
    ],
)
def test_a_refusal_is_a_sentence(data: bytes, sentence: str) -> None:
    assert explain_guard_revert(data, NAMES) == sentence


@pytest.mark.parametrize("error", ABI.errors.values(), ids=lambda error: error.name)
def test_every_refusal_of_the_guard_has_a_sentence(error: CustomError) -> None:
    zeros: dict[str, object] = {
        "address": ZERO_ADDRESS,
        "bytes32": bytes(32),
        "(uint64,uint64,uint64,uint64)": (0, 0, 0, 0),
    }
    values = [zeros.get(type, [] if type.endswith("[]") else 0) for type in error.inputs]
    sentence = explain_guard_revert(error.selector + encode(error.inputs, values))
    assert error.name not in sentence
    assert "{" not in sentence
