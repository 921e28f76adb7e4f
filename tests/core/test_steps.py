"""The life of a batch: every step from what is seen, without a node."""

from dataclasses import replace

import pytest

from keeper.core.fees import (
    Fees,
    Market,
)
from keeper.core.intent import (
    Event,
    Included,
    Intent,
    Reverted,
    State,
)
from keeper.core.plan import Lane
from keeper.core.steps import (
    Abandon,
    Broadcast,
    Reconsider,
    Settle,
    Sign,
    View,
    Wait,
    after,
    fee_floor,
    may_replace,
    next_step,
    reconsidered,
)
from tests.core.intents import DEADLINE, GWEI, NOW, PLENTY_WEI, POLICY, a_receipt, a_view, an_attempt, an_intent

# The first transaction ------------------------------------------------------------------------------------------------


def test_a_planned_batch_is_signed_at_twice_the_base_fee_plus_the_lanes_tip() -> None:
    assert next_step(an_intent(), a_view(), NOW, POLICY) == Sign(Fees(21 * GWEI, 1 * GWEI))
    assert next_step(an_intent(lane=Lane.CRITICAL), a_view(), NOW, POLICY) == Sign(Fees(23 * GWEI, 3 * GWEI))


@pytest.mark.parametrize(
    ("ceiling_wei", "expected"),
    [
        (10 * GWEI, Abandon("gas costs 10000000001 wei and the value at risk justifies 10000000000 wei", Event.DEAR)),
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
        (0, Wait(Event.QUIET)),
        (11, Wait(Event.QUIET)),
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


@pytest.mark.parametrize(("now", "is_given_up"), [(DEADLINE - 1, False), (DEADLINE, True), (DEADLINE + 1, True)])
def test_a_batch_is_given_up_at_its_deadline(now: int, is_given_up: bool) -> None:
    for intent in (an_intent(), an_intent(State.BROADCAST, an_attempt())):
        step = next_step(intent, a_view(), now, POLICY)
        assert (step == Abandon("its deadline passed before it was included", Event.LATE)) is is_given_up


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
    assert next_step(mined, a_view(a_receipt(), block=51), NOW, POLICY) == Wait(Event.SETTLED)
    elsewhere = a_receipt(block=51, block_hash="0x51")
    assert next_step(mined, a_view(elsewhere, block=51), NOW, POLICY) == Settle(Included(elsewhere), is_final=False)


def test_a_mined_batch_whose_block_is_gone_is_tried_out_again_or_given_up_after_its_deadline() -> None:
    mined = after(an_intent(State.BROADCAST, an_attempt()), Settle(Included(a_receipt()), is_final=False))
    step = next_step(mined, a_view(missing=("0xa",)), NOW, POLICY)
    assert isinstance(step, Reconsider)
    assert step.why is Event.GONE
    assert (after(mined, step).state, after(mined, step).outcome) == (State.DOUBTED, None)
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
    assert (step == Abandon("another transaction used nonce 7", Event.SPENT)) is is_spent


def test_what_was_given_up_or_replaced_is_never_sent_again() -> None:
    for state in (State.ABANDONED, State.REPLACED):
        assert isinstance(next_step(an_intent(state, an_attempt()), a_view(), NOW + 100, POLICY), Wait)


@pytest.mark.parametrize(("final_number", "is_final"), [(49, False), (50, True), (51, True)])
def test_where_the_chain_says_what_is_final_blocks_are_not_counted(final_number: int, is_final: bool) -> None:
    intent = an_intent(State.BROADCAST, an_attempt())
    view = replace(a_view(a_receipt(), block=5_000), final_number=final_number)
    assert next_step(intent, view, NOW, POLICY) == Settle(Included(a_receipt()), is_final=is_final)


@pytest.mark.parametrize(("free_nonce", "is_given_up"), [(6, True), (7, False), (8, False)])
def test_a_batch_that_waits_for_a_nonce_that_nothing_uses_is_given_up(free_nonce: int, is_given_up: bool) -> None:
    intent = an_intent(State.BROADCAST, an_attempt())
    step = next_step(intent, replace(a_view(), free_nonce=free_nonce), NOW, POLICY)
    says = "nothing of ours uses nonce 6 any more, and without it nonce 7 waits"
    assert (step == Abandon(says, Event.GAP)) is is_given_up


# The private relay ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lane", "sent_at", "now", "expected"),
    [
        (Lane.ROUTINE, NOW, NOW + 5, Wait(Event.QUIET)),
        (Lane.ROUTINE, NOW, NOW + 6, Broadcast(b"raw 0xa")),
        (Lane.ROUTINE, NOW + 6, NOW + 7, Wait(Event.QUIET)),
        (Lane.CRITICAL, NOW, NOW + 1, Wait(Event.QUIET)),
        (Lane.CRITICAL, NOW, NOW + 2, Broadcast(b"raw 0xa")),
    ],
)
def test_what_only_the_private_relay_has_is_for_everybody_once_its_time_is_over(
    lane: Lane, sent_at: int, now: int, expected: object
) -> None:
    policy = replace(POLICY, private_routine_seconds=6, private_critical_seconds=2)
    intent = an_intent(State.BROADCAST, an_attempt(sent_at=sent_at), lane=lane)
    assert next_step(intent, a_view(), now, policy) == expected


def test_its_private_time_counts_from_its_first_signature() -> None:
    policy = replace(POLICY, private_routine_seconds=30)
    intent = an_intent(State.BROADCAST, an_attempt(signed_at=NOW), an_attempt("0xb", signed_at=NOW + 24))
    assert (intent.is_private(NOW + 29, policy), intent.is_private(NOW + 30, policy)) == (True, False)
    assert not an_intent().is_private(NOW, POLICY)


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


@pytest.mark.parametrize(("sent_at", "expected"), [(None, Broadcast(b"raw 0xa")), (NOW + 20, Wait(Event.QUIET))])
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
    ("in_flight", "lane", "seconds", "serves_more", "expected"),
    [
        (an_intent(State.BROADCAST, an_attempt()), Lane.CRITICAL, 0, False, True),
        (an_intent(State.SIGNED, an_attempt(sent_at=None)), Lane.CRITICAL, 0, False, True),
        (an_intent(State.DOUBTED, an_attempt()), Lane.CRITICAL, 0, False, True),
        (an_intent(State.BROADCAST, an_attempt()), Lane.ROUTINE, 23, True, False),
        (an_intent(State.BROADCAST, an_attempt()), Lane.ROUTINE, 24, False, True),
        (an_intent(State.BROADCAST, an_attempt(), lane=Lane.CRITICAL), Lane.CRITICAL, 0, True, True),
        (an_intent(State.BROADCAST, an_attempt(), lane=Lane.CRITICAL), Lane.CRITICAL, 23, False, False),
        (an_intent(State.BROADCAST, an_attempt(), lane=Lane.CRITICAL), Lane.CRITICAL, 24, False, True),
        (an_intent(State.BROADCAST, an_attempt(), lane=Lane.CRITICAL), Lane.ROUTINE, 99, True, False),
        (an_intent(State.MINED, an_attempt()), Lane.CRITICAL, 99, True, False),
        (an_intent(State.ABANDONED, an_attempt()), Lane.CRITICAL, 99, True, False),
    ],
)
def test_a_nonce_is_taken_over_by_who_is_more_urgent_serves_more_or_differs_from_what_is_stuck(
    in_flight: Intent, lane: Lane, seconds: int, serves_more: bool, expected: bool
) -> None:
    assert may_replace(in_flight, lane, NOW + seconds, POLICY, differs=True, serves_more=serves_more) is expected


@pytest.mark.parametrize(("differs", "expected"), [(True, True), (False, False)])
def test_what_is_stuck_gives_way_only_to_what_differs(differs: bool, expected: bool) -> None:
    in_flight = an_intent(State.BROADCAST, an_attempt(), lane=Lane.CRITICAL)
    assert may_replace(in_flight, Lane.CRITICAL, NOW + 24, POLICY, differs=differs, serves_more=False) is expected
    dearer = an_intent(State.BROADCAST, an_attempt(), an_attempt("0xb", signed_at=NOW + 20), lane=Lane.CRITICAL)
    assert not may_replace(dearer, Lane.CRITICAL, NOW + 24, POLICY, differs=differs, serves_more=False)


# Start ----------------------------------------------------------------------------------------------------------------


def at_start(*missing: str, chain_nonce: int = 7) -> View:
    return replace(a_view(missing=missing, chain_nonce=chain_nonce), is_start=True)


@pytest.mark.parametrize("state", [State.SIGNED, State.BROADCAST])
def test_what_another_process_left_is_doubted_and_sent_as_it_is_when_it_would_still_succeed(state: State) -> None:
    """kill -9 between signing and broadcasting: takes effect once, however old the bytes are."""
    left = an_intent(state, an_attempt(sent_at=None), an_attempt("0xb", sent_at=None))
    step = next_step(left, at_start("0xa", "0xb"), NOW + 100, POLICY)
    assert isinstance(step, Reconsider)
    assert step == Reconsider(b"raw 0xb", Event.FOUND)
    doubted = after(left, step)
    assert doubted.state is State.DOUBTED
    assert reconsidered(doubted, succeeds=True) == Broadcast(b"raw 0xb")
    assert reconsidered(doubted, succeeds=False) == Abandon("it would not succeed any more")


@pytest.mark.parametrize("is_start", [True, False])
def test_what_is_doubted_stays_so_until_it_was_tried_out(is_start: bool) -> None:
    doubted = an_intent(State.DOUBTED, an_attempt())
    view = replace(at_start("0xa"), is_start=is_start)
    assert next_step(doubted, view, NOW + 100, POLICY) == Reconsider(b"raw 0xa", Event.UNPROVEN)
    assert doubted.broadcast(NOW).state is State.BROADCAST


@pytest.mark.parametrize("state", [State.SIGNED, State.BROADCAST, State.DOUBTED])
def test_a_batch_that_landed_while_nobody_looked_is_settled(state: State) -> None:
    intent = an_intent(state, an_attempt(sent_at=None))
    view = replace(a_view(a_receipt(), chain_nonce=8, block=90), is_start=True)
    assert next_step(intent, view, DEADLINE + 1, POLICY) == Settle(Included(a_receipt()), is_final=True)


def test_past_its_deadline_or_with_its_nonce_gone_a_batch_is_given_up_at_start() -> None:
    intent = an_intent(State.BROADCAST, an_attempt())
    late = next_step(intent, at_start("0xa"), DEADLINE, POLICY)
    assert late == Abandon("its deadline passed before it was included", Event.LATE)
    gone = next_step(intent, at_start("0xa", chain_nonce=8), NOW, POLICY)
    assert gone == Abandon("another transaction used nonce 7", Event.SPENT)


def test_a_plan_that_was_never_signed_is_forgotten_at_start() -> None:
    assert next_step(an_intent(), at_start(), NOW, POLICY) == Abandon("it was never signed", Event.FOUND)


def test_a_mined_batch_keeps_waiting_for_its_blocks_at_start() -> None:
    mined = after(an_intent(State.BROADCAST, an_attempt()), Settle(Included(a_receipt()), is_final=False))
    view = replace(a_view(a_receipt(), chain_nonce=8), is_start=True)
    assert next_step(mined, view, NOW, POLICY) == Wait(Event.SETTLED)
