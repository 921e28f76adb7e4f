"""The life of a batch: every step from what is seen, without a node."""

from dataclasses import replace

import pytest

from keeper.core.intent import (
    Abandon,
    Abandoned,
    Attempt,
    Broadcast,
    FeePolicy,
    Fees,
    Included,
    Intent,
    Market,
    Receipt,
    Refused,
    Reverted,
    Settle,
    Sign,
    State,
    TooExpensive,
    View,
    Wait,
    after,
    fee_floor,
    leanest_fees,
    may_replace,
    next_nonce_fees,
    next_step,
    resolve_on_start,
)
from keeper.core.plan import Lane

GWEI = 10**9
NOW = 1_000_000
DEADLINE = NOW + 120
POLICY = FeePolicy(base_fee_multiple=2, replace_after_seconds=24, resend_after_seconds=12, final_after_blocks=8)
CALM = Market(base_fee_wei=10 * GWEI, tip_routine_wei=1 * GWEI, tip_critical_wei=3 * GWEI)
PLENTY_WEI = 1_000 * GWEI


def an_intent(
    state: State = State.PLANNED, *attempts: Attempt, lane: Lane = Lane.ROUTINE, ceiling_wei: int = PLENTY_WEI
) -> Intent:
    return Intent("plan-1", lane, 7, DEADLINE, ceiling_wei, None, state, attempts)


def an_attempt(
    hash: str = "0xa", *, sent_at: int | None = NOW, signed_at: int = NOW, fees: Fees | None = None
) -> Attempt:
    return Attempt(hash, b"raw " + hash.encode(), 7, fees or Fees(21 * GWEI, GWEI), signed_at, sent_at)


def a_receipt(hash: str = "0xa", *, block: int = 50, succeeded: bool = True, block_hash: str = "0x50") -> Receipt:
    return Receipt(hash, block, block_hash, succeeded, 200_000, 11 * GWEI)


def a_view(
    *receipts: Receipt,
    missing: tuple[str, ...] = (),
    block: int = 50,
    market: Market = CALM,
    chain_nonce: int | None = None,
) -> View:
    seen: dict[str, Receipt | None] = {receipt.hash: receipt for receipt in receipts}
    return View(block, market, seen | dict.fromkeys(missing), chain_nonce)


# The first transaction ------------------------------------------------------------------------------------------------


def test_a_planned_batch_is_signed_at_twice_the_base_fee_plus_the_lanes_tip() -> None:
    assert next_step(an_intent(), a_view(), NOW, POLICY) == Sign(Fees(21 * GWEI, 1 * GWEI))
    assert next_step(an_intent(lane=Lane.CRITICAL), a_view(), NOW, POLICY) == Sign(Fees(23 * GWEI, 3 * GWEI))


@pytest.mark.parametrize(
    ("ceiling_wei", "expected"),
    [
        (10 * GWEI, Abandon("gas costs 10000000001 wei and the value at risk justifies 10000000000 wei")),
        (10 * GWEI + 1, Sign(Fees(10 * GWEI + 1, 1 * GWEI))),
        (20 * GWEI, Sign(Fees(20 * GWEI, 1 * GWEI))),
        (22 * GWEI, Sign(Fees(21 * GWEI, 1 * GWEI))),
    ],
)
def test_the_ceiling_caps_the_fees_and_below_the_base_fee_nothing_is_signed(ceiling_wei: int, expected: object) -> None:
    assert next_step(an_intent(ceiling_wei=ceiling_wei), a_view(), NOW, POLICY) == expected


def test_signed_bytes_are_broadcast_as_they_are() -> None:
    signed = an_intent().signed(an_attempt(sent_at=None))
    assert signed.state is State.SIGNED
    assert next_step(signed, a_view(), NOW, POLICY) == Broadcast(b"raw 0xa")


def test_bytes_with_another_nonce_are_not_accepted() -> None:
    with pytest.raises(ValueError, match="nonce 8"):
        an_intent().signed(replace(an_attempt(), nonce=8))


# Waiting and replacing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, Wait("sent; no receipt yet")),
        (11, Wait("sent; no receipt yet")),
        (12, Broadcast(b"raw 0xa")),
        (23, Broadcast(b"raw 0xa")),
        (24, Sign(Fees(23_625_000_000, 1_125_000_000))),
    ],
)
def test_a_sent_batch_waits_then_is_offered_again_then_replaced_by_nine_eighths(seconds: int, expected: object) -> None:
    intent = an_intent(State.BROADCAST, an_attempt())
    assert next_step(intent, a_view(), NOW + seconds, POLICY) == expected


def test_offering_again_does_not_put_off_the_replacement() -> None:
    intent = an_intent(State.BROADCAST, an_attempt(sent_at=NOW + 20, signed_at=NOW))
    assert isinstance(next_step(intent, a_view(), NOW + 24, POLICY), Sign)


def test_a_replacement_follows_a_market_that_rose_further_than_the_bump() -> None:
    intent = an_intent(State.BROADCAST, an_attempt())
    dear = Market(100 * GWEI, 5 * GWEI, 9 * GWEI)
    assert next_step(intent, a_view(market=dear), NOW + 24, POLICY) == Sign(Fees(205 * GWEI, 5 * GWEI))


@pytest.mark.parametrize(
    ("ceiling_wei", "expected"),
    [
        (23_624_999_999, Broadcast(b"raw 0xa")),
        (23_625_000_000, Sign(Fees(23_625_000_000, 1_125_000_000))),
        (23_625_000_001, Sign(Fees(23_625_000_000, 1_125_000_000))),
    ],
)
def test_a_replacement_above_the_ceiling_is_not_made_and_the_old_bytes_are_kept_alive(
    ceiling_wei: int, expected: object
) -> None:
    intent = an_intent(State.BROADCAST, an_attempt(), ceiling_wei=ceiling_wei)
    assert next_step(intent, a_view(), NOW + 24, POLICY) == expected


@pytest.mark.parametrize(
    ("before", "bumped"),
    [
        (Fees(8, 8), Fees(9, 9)),
        (Fees(9, 1), Fees(11, 2)),
        (Fees(1, 0), Fees(2, 1)),
        (Fees(10**18 + 1, 7), Fees(1_125_000_000_000_000_002, 8)),
    ],
)
def test_a_bump_is_rounded_up_and_never_nothing(before: Fees, bumped: Fees) -> None:
    assert before.bumped() == bumped


@pytest.mark.parametrize(("now", "is_given_up"), [(DEADLINE - 1, False), (DEADLINE, True), (DEADLINE + 1, True)])
def test_a_batch_is_given_up_at_its_deadline(now: int, is_given_up: bool) -> None:
    for intent in (an_intent(), an_intent(State.BROADCAST, an_attempt())):
        step = next_step(intent, a_view(), now, POLICY)
        assert (step == Abandon("its deadline passed before it was included")) is is_given_up


# Receipts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("succeeded", "block", "expected"),
    [
        (True, 50, Settle(Included(a_receipt()), is_final=False)),
        (True, 57, Settle(Included(a_receipt()), is_final=False)),
        (True, 58, Settle(Included(a_receipt()), is_final=True)),
        (False, 58, Settle(Reverted(a_receipt(succeeded=False)), is_final=True)),
    ],
)
def test_a_receipt_settles_and_is_final_under_eight_blocks(succeeded: bool, block: int, expected: object) -> None:
    intent = an_intent(State.BROADCAST, an_attempt())
    assert next_step(intent, a_view(a_receipt(succeeded=succeeded), block=block), NOW, POLICY) == expected


@pytest.mark.parametrize("state", [State.SIGNED, State.BROADCAST, State.REPLACED, State.ABANDONED])
def test_a_receipt_of_any_attempt_counts_in_any_state_even_after_the_deadline(state: State) -> None:
    intent = an_intent(state, an_attempt("0xa"), an_attempt("0xb"))
    step = next_step(intent, a_view(a_receipt("0xa"), missing=("0xb",)), DEADLINE + 1000, POLICY)
    assert step == Settle(Included(a_receipt("0xa")), is_final=False)


def test_a_mined_batch_waits_for_blocks_and_takes_note_when_it_is_mined_again_elsewhere() -> None:
    mined = after(an_intent(State.BROADCAST, an_attempt()), Settle(Included(a_receipt()), is_final=False))
    assert mined.state is State.MINED
    assert next_step(mined, a_view(a_receipt(), block=51), NOW, POLICY) == Wait("waiting for blocks on top")
    elsewhere = a_receipt(block=51, block_hash="0x51")
    assert next_step(mined, a_view(elsewhere, block=51), NOW, POLICY) == Settle(Included(elsewhere), is_final=False)


def test_a_mined_batch_whose_block_is_gone_is_sent_again_or_given_up_after_its_deadline() -> None:
    mined = after(an_intent(State.BROADCAST, an_attempt()), Settle(Included(a_receipt()), is_final=False))
    assert next_step(mined, a_view(missing=("0xa",)), NOW, POLICY) == Broadcast(b"raw 0xa")
    assert isinstance(next_step(mined, a_view(missing=("0xa",)), DEADLINE, POLICY), Abandon)


def test_a_receipt_that_was_not_asked_for_proves_nothing() -> None:
    mined = after(an_intent(State.BROADCAST, an_attempt()), Settle(Included(a_receipt()), is_final=False))
    assert isinstance(next_step(mined, a_view(), DEADLINE + 1, POLICY), Wait)


def test_a_final_batch_is_never_looked_at_again() -> None:
    final = after(an_intent(State.BROADCAST, an_attempt()), Settle(Included(a_receipt()), is_final=True))
    assert final.state is State.FINAL
    assert isinstance(next_step(final, a_view(missing=("0xa",), chain_nonce=9), DEADLINE + 1, POLICY), Wait)


@pytest.mark.parametrize(
    ("chain_nonce", "missing", "is_spent"),
    [(7, ("0xa",), False), (8, ("0xa",), True), (8, (), False), (None, ("0xa",), False)],
)
def test_the_nonce_is_lost_only_when_the_chain_is_past_it_and_no_receipt_is_ours(
    chain_nonce: int | None, missing: tuple[str, ...], is_spent: bool
) -> None:
    step = next_step(
        an_intent(State.BROADCAST, an_attempt()), a_view(missing=missing, chain_nonce=chain_nonce), NOW, POLICY
    )
    assert (step == Abandon("another transaction used nonce 7", is_nonce_spent=True)) is is_spent


def test_what_was_given_up_or_replaced_is_never_sent_again() -> None:
    for state in (State.ABANDONED, State.REPLACED):
        assert isinstance(next_step(an_intent(state, an_attempt()), a_view(), NOW + 100, POLICY), Wait)


# Nonces and lanes -----------------------------------------------------------------------------------------------------


def test_the_next_batch_outbids_everything_that_was_signed_with_its_nonce() -> None:
    stuck = an_intent(
        State.ABANDONED, an_attempt(fees=Fees(40 * GWEI, 2 * GWEI)), an_attempt(fees=Fees(30 * GWEI, 4 * GWEI))
    )
    other = replace(an_intent(State.ABANDONED, an_attempt(fees=Fees(900 * GWEI, 900 * GWEI))), nonce=8)
    floor = fee_floor(7, [stuck, other])
    assert floor == Fees(40 * GWEI, 4 * GWEI)
    following = replace(an_intent(), fee_floor=floor)
    assert next_step(following, a_view(), NOW, POLICY) == Sign(Fees(45 * GWEI, 4_500_000_000))
    assert following.highest_fees == floor


def test_a_nonce_that_nobody_used_has_no_floor() -> None:
    assert fee_floor(7, [an_intent()]) is None
    assert fee_floor(9, [an_intent(State.ABANDONED, an_attempt())]) is None


def test_a_floor_above_the_ceiling_says_what_it_would_take() -> None:
    fees = next_nonce_fees(CALM, Lane.CRITICAL, POLICY, 44 * GWEI, Fees(40 * GWEI, 4 * GWEI))
    assert fees == TooExpensive(45 * GWEI, 44 * GWEI, is_for_bump=True)


@pytest.mark.parametrize(
    ("base_gwei", "most_gwei", "expected"),
    [
        (5, 68, Fees(67_500_000_000, 2_250_000_000)),
        (5, 67, TooExpensive(67_500_000_000, 67 * GWEI, is_for_bump=True)),
        (57, 68, Fees(67_500_000_000, 2_250_000_000)),
        (58, 68, TooExpensive(60_250_000_000, 60 * GWEI)),
    ],
)
def test_above_its_ceiling_a_fee_is_offered_where_only_the_bump_demands_it_and_the_market_pays_less(
    base_gwei: int, most_gwei: int, expected: object
) -> None:
    """Bytes at 60 gwei with a tip of 2 were given up; the value at risk still justifies 60."""
    market = Market(base_gwei * GWEI, GWEI, 2 * GWEI)
    floor = Fees(60 * GWEI, 2 * GWEI)
    fees = next_nonce_fees(market, Lane.CRITICAL, POLICY, 60 * GWEI, floor, most_gwei * GWEI)
    assert fees == expected


def test_a_tip_of_the_market_s_takes_no_more_than_the_ceiling_leaves() -> None:
    market = Market(50 * GWEI, GWEI, 90 * GWEI)
    fees = next_nonce_fees(market, Lane.CRITICAL, POLICY, 60 * GWEI, Fees(60 * GWEI, GWEI), 100 * GWEI)
    assert fees == Fees(67_500_000_000, 10 * GWEI)


@pytest.mark.parametrize(
    ("sent_at", "expected"), [(None, Broadcast(b"raw 0xa")), (NOW + 20, Wait("sent; no receipt yet"))]
)
def test_only_the_first_bytes_are_made_dearer_than_their_ceiling(sent_at: int | None, expected: object) -> None:
    policy = replace(POLICY, max_fee_wei=PLENTY_WEI)
    first = replace(an_intent(ceiling_wei=21 * GWEI), fee_floor=Fees(21 * GWEI, GWEI))
    assert next_step(first, a_view(), NOW + 24, policy) == Sign(Fees(23_625_000_000, 1_125_000_000))
    intent = an_intent(State.SIGNED, an_attempt(sent_at=sent_at), ceiling_wei=21 * GWEI)
    assert next_step(intent, a_view(), NOW + 24, policy) == expected


def test_what_every_node_refused_is_not_outbid() -> None:
    refused = an_intent(State.SIGNED, an_attempt(sent_at=None)).refused("insufficient funds")
    assert fee_floor(7, [refused]) is None


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        ((), Fees(13 * GWEI, 3 * GWEI)),
        ((an_attempt(sent_at=None, fees=Fees(40 * GWEI, 4 * GWEI)),), Fees(13 * GWEI, 3 * GWEI)),
        ((an_attempt(fees=Fees(16 * GWEI, 2 * GWEI)),), Fees(18 * GWEI, 3 * GWEI)),
        ((replace(an_attempt(fees=Fees(40 * GWEI, 4 * GWEI)), nonce=8),), Fees(13 * GWEI, 3 * GWEI)),
    ],
)
def test_the_leanest_fees_outbid_what_a_node_took_with_this_nonce_and_nothing_else(
    attempts: tuple[Attempt, ...], expected: Fees
) -> None:
    assert leanest_fees(CALM, Lane.CRITICAL, 7, [an_intent(State.SIGNED, *attempts)]) == expected


def test_the_tip_never_exceeds_the_fee() -> None:
    greedy = Market(1, 50 * GWEI, 50 * GWEI)
    fees = next_nonce_fees(greedy, Lane.ROUTINE, POLICY, 20 * GWEI, None)
    assert fees == Fees(20 * GWEI, 20 * GWEI)


@pytest.mark.parametrize(
    ("in_flight", "lane", "expected"),
    [
        (an_intent(State.BROADCAST, an_attempt()), Lane.CRITICAL, True),
        (an_intent(State.SIGNED, an_attempt(sent_at=None)), Lane.CRITICAL, True),
        (an_intent(State.BROADCAST, an_attempt()), Lane.ROUTINE, False),
        (an_intent(State.BROADCAST, an_attempt(), lane=Lane.CRITICAL), Lane.CRITICAL, False),
        (an_intent(State.MINED, an_attempt()), Lane.CRITICAL, False),
        (an_intent(State.ABANDONED, an_attempt()), Lane.CRITICAL, False),
    ],
)
def test_only_a_critical_batch_takes_the_nonce_of_a_routine_one(in_flight: Intent, lane: Lane, expected: bool) -> None:
    assert may_replace(in_flight, lane, PLENTY_WEI + 1, NOW + 23, POLICY) is expected


@pytest.mark.parametrize(
    ("seconds", "ceiling_wei", "expected"),
    [
        (23, PLENTY_WEI + 1, False),
        (24, PLENTY_WEI + 1, True),
        (24, PLENTY_WEI, False),
        (24, None, True),
    ],
)
def test_a_critical_batch_gives_way_when_it_is_stuck_to_one_with_more_at_risk(
    seconds: int, ceiling_wei: int | None, expected: bool
) -> None:
    made_dearer_late = an_attempt("0xb", signed_at=NOW + 20)
    stuck = an_intent(State.BROADCAST, an_attempt(), lane=Lane.CRITICAL)
    assert may_replace(stuck, Lane.CRITICAL, ceiling_wei, NOW + seconds, POLICY) is expected
    on_its_way = an_intent(State.BROADCAST, an_attempt(), made_dearer_late, lane=Lane.CRITICAL)
    assert not may_replace(on_its_way, Lane.CRITICAL, ceiling_wei, NOW + seconds, POLICY)


# Start ----------------------------------------------------------------------------------------------------------------


def test_bytes_signed_before_a_crash_are_sent_as_they_are_when_they_would_still_succeed() -> None:
    """kill -9 between signing and broadcasting: takes effect once, however old the bytes are."""
    signed = an_intent().signed(an_attempt(sent_at=None))
    view = a_view(missing=("0xa",), chain_nonce=7)
    assert resolve_on_start(signed, view, NOW + 100, POLICY, still_simulates=True) == Broadcast(b"raw 0xa")
    given_up = resolve_on_start(signed, view, NOW + 100, POLICY, still_simulates=False)
    assert given_up == Abandon("found at start, and it would not succeed any more")


def test_the_latest_of_several_attempts_is_the_one_sent_again() -> None:
    intent = an_intent(State.BROADCAST, an_attempt("0xa"), an_attempt("0xb"))
    view = a_view(missing=("0xa", "0xb"), chain_nonce=7)
    assert resolve_on_start(intent, view, NOW + 100, POLICY, still_simulates=True) == Broadcast(b"raw 0xb")


@pytest.mark.parametrize("still_simulates", [True, False])
def test_a_batch_that_landed_while_nobody_looked_is_settled(still_simulates: bool) -> None:
    intent = an_intent(State.SIGNED, an_attempt(sent_at=None))
    view = a_view(a_receipt(), chain_nonce=8, block=90)
    step = resolve_on_start(intent, view, DEADLINE + 1, POLICY, still_simulates)
    assert step == Settle(Included(a_receipt()), is_final=True)


def test_past_its_deadline_or_with_its_nonce_gone_a_batch_is_given_up_at_start() -> None:
    intent = an_intent(State.BROADCAST, an_attempt())
    late = resolve_on_start(intent, a_view(missing=("0xa",), chain_nonce=7), DEADLINE, POLICY, still_simulates=True)
    assert late == Abandon("its deadline passed before it was included")
    gone = resolve_on_start(intent, a_view(missing=("0xa",), chain_nonce=8), NOW, POLICY, still_simulates=True)
    assert gone == Abandon("another transaction used nonce 7", is_nonce_spent=True)


def test_a_plan_that_was_never_signed_is_forgotten_at_start() -> None:
    step = resolve_on_start(an_intent(), a_view(chain_nonce=7), NOW, POLICY, still_simulates=True)
    assert step == Abandon("it was never signed")


def test_a_mined_batch_keeps_waiting_for_its_blocks_at_start() -> None:
    mined = after(an_intent(State.BROADCAST, an_attempt()), Settle(Included(a_receipt()), is_final=False))
    step = resolve_on_start(mined, a_view(a_receipt(), chain_nonce=8), NOW, POLICY, still_simulates=False)
    assert step == Wait("waiting for blocks on top")


# Transitions ----------------------------------------------------------------------------------------------------------


def test_sending_marks_the_latest_attempt_and_forgets_an_outcome_that_was_reorganised_away() -> None:
    mined = after(
        an_intent(State.BROADCAST, an_attempt("0xa"), an_attempt("0xb")), Settle(Included(a_receipt()), is_final=False)
    )
    again = mined.broadcast(NOW + 50)
    assert (again.state, again.outcome) == (State.BROADCAST, None)
    assert [attempt.sent_at for attempt in again.attempts] == [NOW, NOW + 50]


def test_giving_up_keeps_the_attempts_so_that_a_late_receipt_still_counts() -> None:
    given_up = after(an_intent(State.BROADCAST, an_attempt()), Abandon("late"))
    assert (given_up.state, given_up.outcome) == (State.ABANDONED, Abandoned("late"))
    assert given_up.attempts == (an_attempt(),)


def test_what_may_have_been_sent_cannot_count_as_refused() -> None:
    refused = an_intent(State.SIGNED, an_attempt(sent_at=None)).refused("the node says no")
    assert (refused.state, refused.outcome) == (State.ABANDONED, Refused("the node says no"))
    with pytest.raises(ValueError, match="was sent"):
        an_intent(State.BROADCAST, an_attempt()).refused("too late")


def test_only_signed_or_sent_batches_hold_the_dispatcher() -> None:
    live = {state for state in State if an_intent(state, an_attempt()).is_live}
    assert live == {State.SIGNED, State.BROADCAST}


def test_a_batch_without_bytes_cannot_have_been_broadcast() -> None:
    with pytest.raises(ValueError, match="never signed"):
        an_intent().broadcast(NOW)


def test_a_replaced_batch_names_its_successor() -> None:
    replaced = an_intent(State.BROADCAST, an_attempt()).replaced("plan-2")
    assert (replaced.state, replaced.outcome) == (State.REPLACED, Abandoned("replaced by plan plan-2"))


def test_the_cost_of_a_receipt_is_gas_times_its_price() -> None:
    assert a_receipt().cost_wei == 2_200_000_000_000_000
