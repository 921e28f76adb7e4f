import pytest

from keeper.core.policy import Pair
from keeper.core.snapshot import (
    Fresh,
    GuardAccount,
    GuardProtocol,
    Subaccount,
    SubaccountId,
    Token,
    Unknown,
)
from keeper.core.units import INFINITE_HEALTH, Address
from keeper.protocols.abi import ZERO_ADDRESS, interface
from keeper.protocols.base import Around, Enrolment, EnrolmentKey
from keeper.protocols.multicall import MULTICALL3
from keeper.protocols.wallet import NO_KEY, Wallet, discover
from tests.protocols.fakes import BLOCK, GUARD, OWNER, WBTC, WETH, FakeChain, a_chain

TOKENS = (Token(WETH, "WETH", 18), Token(WBTC, "WBTC", 8))
ERC20 = interface("ERC20")
KEY: EnrolmentKey = (GuardProtocol.WALLET, OWNER, ZERO_ADDRESS, NO_KEY)


def enrolled_with(*assets: Address) -> dict[EnrolmentKey, GuardAccount]:
    account = GuardAccount(5, GuardProtocol.WALLET, OWNER, ZERO_ADDRESS, NO_KEY, assets, 0, 0, 0, 0, is_live=True)
    return {KEY: account}


def read(
    chain: FakeChain,
    enrolled: dict[EnrolmentKey, GuardAccount] | None = None,
    guard: Address | None = GUARD,
    problem: str | None = None,
) -> Subaccount:
    wallet = Wallet(OWNER, guard, TOKENS, "ETH")
    around = Around(BLOCK, problem, enrolled_with(WETH, WBTC) if enrolled is None else enrolled, {})
    (subaccount,) = wallet.decode(chain.results(wallet.read_calls()), around)
    return subaccount


def test_the_tokens_are_found_in_one_round() -> None:
    wallet, rounds = a_chain().run(discover(OWNER, GUARD, [WETH, WBTC], "ETH"))
    assert wallet == Wallet(OWNER, GUARD, TOKENS, "ETH")
    assert rounds == 1
    assert wallet.underlyings() == [WETH, WBTC]
    assert wallet.pairs() == [Pair(SubaccountId("wallet"))]
    assert wallet.enrolments() == [
        Enrolment(SubaccountId("wallet"), "wallet", GuardProtocol.WALLET, OWNER, ZERO_ADDRESS, NO_KEY, (WETH, WBTC))
    ]


@pytest.mark.parametrize(
    ("allowance", "movable"),
    [
        (0, 0),
        (2 * 10**18, 2_000_000_000_000_000_000),
        (3 * 10**18, 3_000_000_000_000_000_000),
        (2**256 - 1, 3_000_000_000_000_000_000),
    ],
)
def test_what_may_leave_is_the_lesser_of_balance_and_allowance(allowance: int, movable: int) -> None:
    chain = a_chain()
    chain.answer(WETH, ERC20["allowance"], OWNER, GUARD, returns=[allowance])
    line = read(chain).line(WETH)
    assert line is not None
    assert (line.amount_raw, line.movable_raw_max) == (3_000_000_000_000_000_000, movable)


def test_the_wallet_is_a_donor_that_owes_nothing() -> None:
    wallet = read(a_chain())
    assert (wallet.id, wallet.label, wallet.guard_index) == (SubaccountId("wallet"), "wallet", 5)
    assert wallet.reading == Fresh()
    assert not wallet.has_debt
    assert wallet.unit is None
    assert wallet.cannot_give is None
    assert wallet.cannot_receive == "a wallet owes nothing, so nothing is moved into it"
    assert wallet.margin.risk({WETH: -3 * 10**18, WBTC: -1}).health_factor == INFINITE_HEALTH


def test_more_than_the_wallet_holds_cannot_leave() -> None:
    with pytest.raises(ValueError, match=r"has 50000000 raw units of .*, not 50000001"):
        read(a_chain()).margin.risk({WBTC: -50_000_001})


def test_what_does_not_count_is_noted_with_what_would_make_it_count() -> None:
    assert read(a_chain()).notes == (
        "2.5 ETH: wrap to make available",
        "the guard may take 2 of 3 WETH: approve more to make it available",
    )


@pytest.mark.parametrize(
    ("wei", "is_noted"), [(10**15 - 1, False), (10**15, True)]
)  # fmt: skip
def test_dust_of_the_native_coin_is_not_worth_a_note(wei: int, is_noted: bool) -> None:
    chain = a_chain()
    chain.answer(MULTICALL3, interface("Multicall3")["getEthBalance"], OWNER, returns=[wei])
    assert any("wrap" in note for note in read(chain).notes) is is_noted


def test_a_token_that_is_not_enrolled_cannot_be_given() -> None:
    wallet = read(a_chain(), enrolled_with(WETH))
    line = wallet.line(WBTC)
    assert line is not None
    assert line.movable_raw_max == 0
    assert "WBTC is not enrolled in the guard, so it cannot be given" in wallet.notes


def test_a_wallet_that_is_not_enrolled_is_not_protected() -> None:
    assert read(a_chain(), {}).guard_index is None


def test_without_a_guard_nothing_can_leave() -> None:
    wallet = read(a_chain(), guard=None)
    assert wallet.cannot_give == "no guard is configured"
    assert [line.movable_raw_max for line in wallet.collateral] == [0, 0]


def test_a_token_that_does_not_answer_is_left_out_by_name() -> None:
    chain = a_chain()
    chain.revert(WETH, ERC20["balanceOf"], OWNER)
    wallet = read(chain)
    assert wallet.reading == Fresh()
    assert [line.token.symbol for line in wallet.collateral] == ["WBTC"]
    assert "the balance of WETH cannot be read: stale" in wallet.notes
    assert wallet.unread == ("the balance of WETH cannot be read: stale",)
    with pytest.raises(ValueError, match="has 0 raw units"):
        wallet.margin.risk({WETH: -1})


def test_an_allowance_that_cannot_be_read_counts_as_none() -> None:
    chain = a_chain()
    chain.revert(WETH, ERC20["allowance"], OWNER, GUARD)
    wallet = read(chain)
    line = wallet.line(WETH)
    assert line is not None
    assert line.movable_raw_max == 0
    assert "the guard's allowance of WETH cannot be read: stale" in wallet.notes


def test_a_wallet_of_which_nothing_answers_is_unknown() -> None:
    chain = a_chain()
    for token in (WETH, WBTC):
        chain.revert(token, ERC20["balanceOf"], OWNER)
    wallet = read(chain)
    assert wallet.reading == Unknown(
        "the balance of WETH cannot be read: stale; the balance of WBTC cannot be read: stale"
    )
    assert wallet.collateral == ()
    assert wallet.margin.risk().health_factor == 0


def test_a_guard_that_cannot_be_used_is_asked_no_permission_for() -> None:
    chain = a_chain()
    chain.answer(WETH, ERC20["allowance"], OWNER, GUARD, returns=[0])
    one = read(chain, {}, problem="it is another contract")
    assert one.cannot_give == "the guard cannot be used: it is another contract"
    assert not any(line.movable_raw_max for line in one.collateral)
    assert not any("approve" in note for note in one.notes)
