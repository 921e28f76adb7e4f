"""The table of states and events, and what an intent says of itself."""

from dataclasses import replace

import pytest

from keeper.core.intent import TABLE, Abandoned, Effect, Event, Included, Refused, State
from keeper.core.steps import Abandon, Reconsider, Settle, after
from tests.core.intents import NOW, a_receipt, an_attempt, an_intent


def test_sending_marks_the_latest_attempt_and_forgets_an_outcome_that_was_reorganised_away() -> None:
    mined = after(
        an_intent(State.BROADCAST, an_attempt("0xa"), an_attempt("0xb")), Settle(Included(a_receipt()), is_final=False)
    )
    again = after(mined, Reconsider(b"raw 0xb", Event.GONE)).broadcast(NOW + 50)
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
    assert live == {State.SIGNED, State.BROADCAST, State.DOUBTED}


def test_a_batch_without_bytes_cannot_have_been_broadcast() -> None:
    with pytest.raises(ValueError, match="is planned, and then this cannot be: a node has its bytes"):
        an_intent().broadcast(NOW)


def test_a_replaced_batch_names_its_successor() -> None:
    replaced = an_intent(State.BROADCAST, an_attempt()).replaced("plan-2")
    assert (replaced.state, replaced.outcome) == (State.REPLACED, Abandoned("replaced by plan plan-2"))


def test_the_cost_of_a_receipt_is_gas_times_its_price() -> None:
    assert a_receipt().cost_wei == 2_200_000_000_000_000


def test_what_a_rollup_took_for_the_bytes_is_part_of_the_cost() -> None:
    assert replace(a_receipt(), data_fee_wei=7).cost_wei == 2_200_000_000_000_007


# The table ------------------------------------------------------------------------------------------------------------


def reachable(start: State) -> set[State]:
    found, left = {start}, [start]
    while left:
        for _, state in TABLE[left.pop()].values():
            if state not in found:
                found.add(state)
                left.append(state)
    return found


def test_every_state_is_reached_from_the_first_and_leads_to_an_end() -> None:
    assert reachable(State.PLANNED) == set(State)
    for state in State:
        assert reachable(state) & {State.FINAL, State.REPLACED, State.ABANDONED}


def test_every_event_and_every_effect_is_of_use() -> None:
    assert {event for row in TABLE.values() for event in row} == set(Event)
    assert {effect for row in TABLE.values() for effect, _ in row.values()} == set(Effect)


def test_nothing_follows_on_what_is_final() -> None:
    assert reachable(State.FINAL) == {State.FINAL}


@pytest.mark.parametrize("state", [State.REPLACED, State.ABANDONED])
def test_only_a_receipt_changes_what_was_given_up(state: State) -> None:
    assert {event for event, (_, to) in TABLE[state].items() if to is not state} == {Event.INCLUDED, Event.FINALISED}


def test_whatever_may_have_been_sent_is_settled_by_a_receipt() -> None:
    for state in set(State) - {State.PLANNED, State.FINAL}:
        assert TABLE[state][Event.INCLUDED] == (Effect.TELL, State.MINED)
        assert TABLE[state][Event.FINALISED] == (Effect.TELL, State.FINAL)


def test_the_same_bytes_are_offered_again_unproven_only_where_this_process_made_them() -> None:
    """A doubted intent is tried out first, always."""
    offers = {event for event, (effect, _) in TABLE[State.DOUBTED].items() if effect is Effect.OFFER}
    assert offers == {Event.SIGNED}
