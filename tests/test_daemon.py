"""What a cycle does when something around it fails: it tells what it saw, and it forgets nothing that it sent."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keeper.chain.signer import decode_signed
from keeper.core.intent import State
from keeper.core.policy import PriceLimits
from keeper.core.snapshot import SecondPrice, Subaccount
from keeper.core.verdict import Rescue
from keeper.errors import JournalError, JournalFull, NodeRefused, NodeUnreachable
from keeper.journal import CycleRecord
from keeper.pausing import Mode
from keeper.records import history_from_json
from tests.builders import USDC, WETH, a_subaccount, a_wallet, wad
from tests.fakes import a_block, refused_by_node
from tests.keeper_world import World

BUSY = NodeRefused("node.example refused it: busy.", -32000, "busy")
RESCUE = "morpho:a"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """One account that needs a critical rescue and a wallet that can pay for it."""
    made = World(tmp_path, a_subaccount("a", health="1.03"), a_wallet("10"))
    yield made
    made.journal.close()


@pytest.fixture
def doomed(tmp_path: Path) -> Iterator[World]:
    """The same, beside an account that can be liquidated and that nobody can save."""
    lost = a_subaccount("b", health="0.99", cannot_receive="frozen")
    made = World(tmp_path, a_subaccount("a", health="1.03"), lost, a_wallet("10"))
    yield made
    made.journal.close()


# Telling --------------------------------------------------------------------------------------------------------------


async def test_a_rescue_that_is_due_is_sent(world: World) -> None:
    await world.start()
    report = await world.cycle(100)
    assert (report.is_signed, report.is_sent, len(world.node.sent)) == (True, True, 1)
    assert world.names() == []
    assert world.journal.cycle_of(world.intent().plan_id).block.number == 100


async def test_what_was_seen_is_told_when_the_node_cannot_simulate(doomed: World) -> None:
    await doomed.start()
    doomed.node.simulation_fault = NodeUnreachable("node.example did not answer in time.")
    assert await doomed.failed_cycle(100) == "node.example did not answer in time."
    told = {(alarm, subject): says for alarm, subject, says in doomed.told}
    assert ("liquidatable", "morpho:b") in told
    assert told["blocked", RESCUE].endswith(" is blocked: node.example did not answer in time.")


@pytest.mark.parametrize(
    ("fault", "alarm"),
    [
        (JournalFull("The disk of the journal is full; free some space."), "disk_full"),
        (JournalError("The journal cannot be used: it is odd."), "journal_failing"),
    ],
)
async def test_what_was_seen_is_told_and_sent_when_the_journal_takes_no_cycle(
    doomed: World, monkeypatch: pytest.MonkeyPatch, fault: JournalError, alarm: str
) -> None:
    def refuses(_: CycleRecord) -> None:
        raise fault

    monkeypatch.setattr(doomed.journal, "record_cycle", refuses)
    await doomed.start()
    assert (await doomed.cycle(100)).is_sent
    assert {"liquidatable", alarm} <= {*doomed.names()}


async def test_what_was_seen_is_told_when_the_journal_takes_nothing_of_a_batch(
    doomed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise JournalError("The journal cannot be used: it is odd.")

    await doomed.start()
    await doomed.cycle(100)
    doomed.told.clear()
    monkeypatch.setattr(doomed.journal, "save_intent", refuses)
    doomed.subaccounts = (a_subaccount("a", health="1.01"), *doomed.subaccounts[1:])
    assert await doomed.failed_cycle(102) == "The journal cannot be used: it is odd."
    assert "blocked" in doomed.names()
    assert doomed.node.sent[1:] == [], "nothing leaves that is not written down"


async def test_nothing_new_is_sent_once_the_reserve_is_used_and_again_when_there_is_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.start()
    world.journal.is_out_of_space = True
    with monkeypatch.context() as full:
        full.setattr(world.journal, "make_room", lambda: None)
        await world.cycle(100)
    assert ("disk_full" in world.names(), world.node.sent) == (True, [])
    assert (await world.cycle(101)).is_sent


# What is on its way ---------------------------------------------------------------------------------------------------


async def test_receipts_that_cannot_be_asked_for_are_an_alarm_and_planning_goes_on(doomed: World) -> None:
    await doomed.start()
    await doomed.cycle(100)
    doomed.told.clear()
    doomed.node.receipt_faults.append(BUSY)
    report = await doomed.cycle(101)
    assert report.snapshot.block.number == 101
    assert doomed.about("node_failing") == [("node.example", "node.example refused it: busy.")]
    assert doomed.intent().state is State.BROADCAST


async def test_a_start_without_an_answer_is_tried_again_and_nothing_new_is_sent_until_then(world: World) -> None:
    world.node.count_fault = BUSY
    await world.start()
    report = await world.cycle(100)
    assert (report.plan.rescues, world.node.sent) == ((), [])
    assert world.about("blocked") == [
        (RESCUE, "morpho a (morpho:a) is blocked: what was sent earlier cannot be looked up yet.")
    ]
    world.node.count_fault = None
    assert (await world.cycle(101)).is_sent


async def test_that_blocks_may_be_gone_is_remembered_until_it_was_looked_after(world: World) -> None:
    """The block of our receipt is gone, and so is the answer of the one cycle that was told so."""
    await world.start()
    await world.cycle(100)
    sent = world.intent().plan_id
    world.node.mine(a_block(101))
    world.subaccounts = (a_subaccount("a", health="1.5"), a_wallet("10"))
    await world.cycle(101)
    world.node.reorganise()
    world.node.receipt_faults.append(BUSY)
    await world.cycle(102, fork="f", blocks_may_be_gone=True)
    await world.cycle(103, fork="f")
    assert (world.intent().plan_id, world.intent().state) == (sent, State.BROADCAST)


async def test_what_nobody_saw_for_many_blocks_is_told_all_the_same(world: World) -> None:
    await world.start()
    await world.cycle(100)
    hash = world.intent().attempts[-1].hash
    world.node.mine(a_block(101), succeeds=False)
    await world.cycle(112, blocks_may_be_gone=True)
    says = f"The batch {hash} reverted and moved nothing; the next cycle plans anew."
    assert says in [sentence for _, sentence in world.about("rescue_failed")]
    assert world.metrics.registry.get_sample_value("keeper_transactions_total", {"outcome": "reverted"}) == 1


async def test_an_inclusion_that_is_reorganised_away_before_it_is_told_is_not_told(world: World) -> None:
    await world.start()
    await world.cycle(100)
    world.node.mine(a_block(101))
    world.read_fault = NodeUnreachable("node.example did not answer in time.")
    await world.failed_cycle(101)
    world.read_fault = None
    world.node.reorganise()
    await world.cycle(102, fork="f", blocks_may_be_gone=True)
    assert world.metrics.registry.get_sample_value("keeper_transactions_total", {"outcome": "included"}) is None
    assert world.intent().state is State.BROADCAST


# What is not taken, and what waits ------------------------------------------------------------------------------------


async def test_bytes_that_no_node_takes_do_not_count_as_sent_and_are_told_a_block_later(world: World) -> None:
    await world.start()
    world.node.faults.extend([NodeUnreachable("node.example closed the connection.")] * 3)
    report = await world.cycle(100)
    assert (report.is_signed, report.is_sent, report.is_refused) == (True, False, False)
    assert world.about("rescue_failed") == []
    await world.cycle(101)
    says = "The rescue of morpho:a has waited since block 100: not known to be sent: "
    assert world.about("rescue_failed") == [(RESCUE, f"{says}node.example closed the connection.")]


async def test_a_rescue_that_waits_for_more_than_two_blocks_is_told(world: World) -> None:
    await world.start()
    for number in (100, 101, 102):
        await world.cycle(number)
        assert world.about("rescue_failed") == []
    await world.cycle(103)
    says = "The rescue of morpho:a has waited since block 100: it is not included."
    assert world.about("rescue_failed") == [(RESCUE, says)]


async def test_a_rescue_that_waits_behind_a_batch_that_it_cannot_outbid_is_told(tmp_path: Path) -> None:
    """What is at risk in either small account does not justify the fees of a block later."""
    small, wallet = a_subaccount("a", weth="0.6", health="1.03"), a_wallet("1000")
    world = World(tmp_path, small, a_subaccount("c", weth="0.6", health="1.5"), wallet)
    await world.start()
    assert (await world.cycle(100, base_fee_gwei=5)).is_sent
    world.subaccounts = (small, a_subaccount("c", weth="0.6", health="1.03"), wallet)
    for number in (101, 102, 103):
        report = await world.cycle(number, base_fee_gwei=1_000)
        assert (report.is_signed, list(map(str, report.waiting))) == (False, ["morpho:c"])
    world.told.clear()
    await world.cycle(104, base_fee_gwei=1_000)
    waits = dict(world.about("rescue_failed"))
    assert (
        waits["morpho:c"] == "The rescue of morpho:c has waited since block 101: the batch before it is not included."
    )
    world.journal.close()


async def test_who_becomes_critical_while_a_critical_batch_is_on_its_way_is_served_at_once_beside_it(
    world: World,
) -> None:
    (first, wallet), calm = world.subaccounts, a_subaccount("c", health="1.5")
    world.subaccounts = (first, calm, wallet)
    await world.restart(99)
    await world.cycle(100)
    world.subaccounts = (first, a_subaccount("c", health="1.03"), wallet)
    report = await world.cycle(101)
    assert {str(rescue.recipient) for rescue in report.plan.rescues} == {"morpho:a", "morpho:c"}
    assert [signed.nonce for signed in map(decode_signed, world.node.sent)] == [0, 0]
    report = await world.cycle(102)
    assert (report.outcome, report.waiting, len(world.node.sent)) == ("", (), 2), "nobody new: it is left alone"


async def test_what_does_not_fit_into_one_transaction_goes_out_in_the_block_that_includes_the_first(
    world: World,
) -> None:
    low, saved = (a_subaccount("a", health=health) for health in ("1.03", "1.6"))
    other, wallet = a_subaccount("c", health="1.03"), a_wallet("1000")
    world.subaccounts = (low, other, wallet)
    world.node.rescue_gas = 6_000_000
    await world.restart(99)
    report = await world.cycle(100)
    assert (report.is_sent, list(map(str, report.waiting))) == (True, ["morpho:c"])
    report = await world.cycle(101)
    assert (report.is_signed, len(world.node.sent)) == (False, 1), "what is on its way is not given up for the rest"
    assert world.about("rescue_failed") == []
    world.node.mine(a_block(102))
    world.subaccounts = (saved, other, wallet)
    report = await world.cycle(102)
    assert [str(rescue.recipient) for rescue in report.plan.rescues] == ["morpho:c"]
    assert [signed.nonce for signed in map(decode_signed, world.node.sent)] == [0, 1]


async def test_what_is_stuck_is_made_dearer_where_the_plan_is_the_same(world: World) -> None:
    await world.start()
    first = (await world.cycle(100)).batch
    await world.cycle(101)
    report = await world.cycle(102)
    assert first is not None
    assert report.batch is None, "24 seconds later: dearer bytes of the same batch"
    assert [signed.data for signed in map(decode_signed, world.node.sent)] == [first.calldata] * 2
    assert Rescue(in_flight=True) in report.plan.verdicts.values()


async def test_what_is_stuck_is_planned_anew_where_the_prices_have_moved_on(world: World) -> None:
    await world.start()
    await world.cycle(100)
    stale = world.intent().plan_id
    world.subaccounts = (a_subaccount("a", health="1.01"), world.subaccounts[1])
    assert not (await world.cycle(101)).is_signed, "not stuck yet"
    report = await world.cycle(102)
    assert (report.is_sent, world.intent().plan_id == stale) == (True, False)
    old, new = map(decode_signed, world.node.sent)
    assert (old.nonce, old.data == new.data) == (new.nonce, False)
    assert 8 * new.fees.max_fee_wei >= 9 * old.fees.max_fee_wei
    replaced = world.journal.intent(stale)
    assert replaced is not None
    assert replaced.state is State.REPLACED


async def test_what_nobody_needs_any_more_is_not_made_dearer(world: World) -> None:
    await world.start()
    await world.cycle(100)
    world.subaccounts = (a_subaccount("a", health="1.5"), world.subaccounts[1])
    for number in (101, 102, 103, 104):
        await world.cycle(number)
    assert {signed.fees.max_fee_wei for signed in map(decode_signed, world.node.sent)} == {3_250_000_000}


async def test_where_nothing_can_be_read_what_is_stuck_is_made_dearer_all_the_same(world: World) -> None:
    await world.start()
    await world.cycle(100)
    world.read_fault = NodeUnreachable("node.example did not answer in time.")
    for number in (101, 102):
        await world.failed_cycle(number)
    assert len({signed.fees for signed in map(decode_signed, world.node.sent)}) == 2


async def test_another_process_knows_whom_the_batch_on_its_way_serves(world: World) -> None:
    await world.start()
    await world.cycle(100)
    await world.restart(101)
    report = await world.cycle(101)
    assert Rescue(in_flight=True) in report.plan.verdicts.values()
    assert len({*world.node.sent}) == 1


async def test_a_critical_batch_that_takes_the_place_of_a_stuck_one_serves_its_recipients_too(tmp_path: Path) -> None:
    """What is at risk in the small account does not justify the fees a block later; in the large one it does."""
    small, wallet = a_subaccount("a", weth="0.6", health="1.03"), a_wallet("1000")
    world = World(tmp_path, small, a_subaccount("c", weth="1000", health="1.5"), wallet)
    await world.start()
    assert (await world.cycle(100, base_fee_gwei=5)).is_sent
    world.subaccounts = (small, a_subaccount("c", weth="1000", health="1.02"), wallet)
    report = await world.cycle(101, base_fee_gwei=100)
    assert {str(rescue.recipient) for rescue in report.plan.rescues} == {"morpho:a", "morpho:c"}
    assert (report.is_sent, report.batch and report.batch.plan_id) == (True, world.intent().plan_id)
    world.journal.close()


async def test_a_refusal_names_each_account_that_it_leaves_alone(tmp_path: Path) -> None:
    world = World(tmp_path, a_subaccount("a", health="1.03"), a_subaccount("b", health="1.03"), a_wallet("100"))
    world.node.faults.append(refused_by_node("intrinsic gas too low"))
    await world.start()
    report = await world.cycle(100)
    assert (report.is_refused, report.is_signed) == (True, False)
    says = "was not sent: the node refuses it: intrinsic gas too low."
    assert sorted(world.about("rescue_failed")) == [
        ("morpho:a", f"The rescue of morpho:a {says}"),
        ("morpho:b", f"The rescue of morpho:b {says}"),
    ]
    world.journal.close()


# The owner's switch ---------------------------------------------------------------------------------------------------


async def test_a_pause_holds_over_a_restart_also_for_what_was_signed(world: World) -> None:
    await world.start()
    world.node.faults.append(NodeUnreachable("node.example closed the connection."))
    await world.cycle(100)
    world.switch(Mode.PAUSED)
    await world.restart(101)
    await world.cycle(102)
    assert world.node.sent == []
    world.switch(Mode.ACTIVE)
    await world.cycle(103)
    assert len(world.node.sent) == 1


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (Mode.PAUSED, "the keeper is paused (`keeper resume` undoes it)"),
        (Mode.PROTECT_ONLY, "from now on only debt-free donors may give; the next block plans anew"),
    ],
)
async def test_a_switch_during_the_simulation_holds_for_its_batch(world: World, mode: Mode, reason: str) -> None:
    await world.start()
    world.node.on_simulation = lambda: world.switch(mode)
    report = await world.cycle(100)
    assert (report.batch, world.node.sent) == (None, [])
    assert world.about("blocked") == [(RESCUE, f"morpho a (morpho:a) is blocked: {reason}.")]


async def test_a_cycle_is_told_with_the_mode_that_it_ran_in(world: World) -> None:
    await world.start()
    world.node.on_send = lambda _: world.switch(Mode.PAUSED)
    report = await world.cycle(100)
    assert (report.is_sent, report.mode) == (True, Mode.ACTIVE)
    assert (await world.cycle(101)).mode is Mode.PAUSED


async def test_the_guards_pause_is_offered_again_while_the_keeper_is_paused(world: World) -> None:
    world.switch(Mode.PAUSED)
    await world.start()
    world.node.faults.append(NodeUnreachable("node.example closed the connection."))
    change = await world.keeper.pause_guard(a_block(100))
    again = await world.keeper.pause_guard(a_block(100))
    assert (again.did, again.intent.plan_id) == ("on its way already", change.intent.plan_id)
    assert world.node.sent == []
    await world.cycle(101)
    assert len(world.node.sent) == 1


async def test_the_guards_pause_takes_the_place_of_a_rescue_on_its_way(world: World) -> None:
    await world.start()
    await world.cycle(100)
    assert (await world.keeper.pause_guard(a_block(100))).intent.state is State.BROADCAST
    assert world.intent().plan_id == "pause-100"


# Prices ---------------------------------------------------------------------------------------------------------------


def two_accounts(price: str) -> tuple[Subaccount, Subaccount]:
    prices = {WETH: price}
    poor = a_subaccount("poor", weth="10", debt="14000", prices=prices)
    return poor, a_subaccount("rich", weth="80", debt="30000", prices=prices)


async def test_a_jump_is_known_after_a_restart_and_believed_when_it_has_held(tmp_path: Path) -> None:
    world = World(tmp_path, *two_accounts("2000"))
    world.price_limits = PriceLimits(jump_max_bps=1_500, jump_seconds=120)
    await world.restart(100)
    for number in (100, 101):
        assert (await world.cycle(number)).plan.disputes == {}

    world.subaccounts = two_accounts("1680")
    await world.restart(102)
    assert "price_disputed" not in world.names()
    for number in (102, 103, 112):
        report = await world.cycle(number)
        assert [str(id) for id in report.plan.disputes] == ["morpho:poor", "morpho:rich"]
        assert not report.is_sent
    assert "price_disputed" in world.names()

    report = await world.cycle(113)  # the old price held until block 102, 132 s ago
    assert report.plan.disputes == {}
    assert report.is_sent


# Fewer endpoints than have to agree -----------------------------------------------------------------------------------

LOST = "Only a.example told the state at block 100, and 2 endpoints have to agree: b.example is down."


async def test_without_a_quorum_who_owes_nothing_gives_and_it_is_told(world: World) -> None:
    world.quorum_problem = LOST
    await world.start()
    report = await world.cycle(100)
    assert report.is_sent
    assert world.about("quorum_lost") == [("endpoints", f"{LOST} Until they do, only debt-free donors give.")]


async def test_without_a_quorum_nothing_leaves_an_account_with_debt(tmp_path: Path) -> None:
    world = World(tmp_path, a_subaccount("a", health="1.03"), a_subaccount("b", health="3", weth="30"))
    world.quorum_problem = LOST
    await world.start()
    report = await world.cycle(100)
    assert (report.plan.rescues, world.node.sent) == ((), [])
    assert {"quorum_lost", "unfunded"} <= {*world.names()}
    world.quorum_problem = None
    report = await world.cycle(101)
    assert report.is_sent
    assert "quorum_lost" not in world.names()
    world.journal.close()


async def test_a_quorum_that_is_lost_again_is_told_again(world: World) -> None:
    await world.start()
    for number, problem in ((100, LOST), (101, LOST), (102, None), (103, LOST)):
        world.quorum_problem = problem
        await world.cycle(number)
    assert len(world.about("quorum_lost")) == 2


async def test_a_decision_made_without_a_quorum_is_made_again_from_the_journal(world: World) -> None:
    world.quorum_problem = LOST
    await world.start()
    await world.cycle(100)
    plan = world.journal.cycle_of(world.intent().plan_id).plan
    assert plan is not None
    assert history_from_json(plan.history).protect_only


# Disputes -------------------------------------------------------------------------------------------------------------


async def test_a_dispute_outlives_the_silence_of_whoever_disputes_and_a_restart(world: World) -> None:
    def second(price: str | None) -> tuple[SecondPrice, ...]:
        return (SecondPrice(WETH, "a pool", USDC.address, None if price is None else wad(price), "it is silent"),)

    await world.start()
    for number, price, is_told in [(100, "1500", True), (101, None, True), (102, "1900", False), (103, None, False)]:
        world.second_prices = second(price)
        report = await world.cycle(number)
        assert bool(report.plan.disputes) is (number < 102)
        assert ("price_disputed" in world.names()) is is_told
        if number == 100:
            await world.restart(100)
