"""The dispatcher with a real journal and a transaction pool that does what the test says."""

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest
from eth_account import Account

from keeper.chain.batch import Batch, Change
from keeper.chain.dispatcher import Dispatcher
from keeper.chain.fees import FeeOracle
from keeper.chain.signer import KeystoreSigner, Scope, decode_signed
from keeper.core.fees import Budget, FeePolicy, Fees
from keeper.core.intent import Abandoned, Included, Refused, Reverted, State
from keeper.core.plan import Lane
from keeper.core.snapshot import Block
from keeper.errors import BadAnswer, NodeUnreachable
from keeper.journal import Journal, open_reader, open_writer
from keeper.protocols.abi import interface
from keeper.protocols.guard_batch import pause_calldata
from tests.builders import GUARD
from tests.fakes import FakeFees, FakePool, a_block, refused_by_node, transaction_hash

GWEI = 10**9
POLICY = FeePolicy(
    base_fee_multiple=2,
    replace_after_seconds=36,
    resend_after_seconds=24,
    final_after_blocks=5,
    max_fee_wei=1_000 * GWEI,
)
SIGNER_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
FAR = a_block(10_000).timestamp


def a_batch(
    plan_id: str = "plan-1", lane: Lane = Lane.ROUTINE, *, ceiling_gwei: int = 100, deadline: int = FAR
) -> Batch:
    calldata = interface("MarginGuard")["rebalance"].encode(plan_id.encode().ljust(32), deadline, [])
    return Batch(plan_id, lane, calldata, 300_000, deadline, ceiling_gwei * GWEI)


TOO_DEAR = [
    "insufficient funds for gas * price + value",
    "tx fee (1.05 ether) exceeds the configured cap (1.00 ether)",
]


class World:
    """A dispatcher, its journal and its node; `restart` is a new process on the same journal."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pool = FakePool()
        self.journal: Journal = open_writer(path)
        self.daily_budget_wei = 10**18
        self.reserve_wei = 0
        self.succeeds = True
        """Whether what was signed earlier would still succeed."""
        self.tried_out: list[int] = []
        """At which blocks that was asked."""
        self.relay: FakePool | None = None
        """The private relay: a pool that mines nothing by itself."""
        self.dispatcher = self._dispatcher()

    def _dispatcher(self) -> Dispatcher:
        return Dispatcher(
            self.pool,
            KeystoreSigner(Account.from_key(SIGNER_KEY), Scope(1, GUARD, max_fee_wei_max=10**12)),
            self.journal,
            FeeOracle(FakeFees(), tip_wei_min=GWEI),
            POLICY if self.relay is None else replace(POLICY, private_routine_seconds=24, private_critical_seconds=12),
            chain_id=1,
            guard=GUARD,
            budget=Budget(self.daily_budget_wei, self.reserve_wei, "ETH"),
            still_succeeds=self._still_succeeds,
            relay=self.relay,
        )

    async def _still_succeeds(self, _calldata: bytes, _gas: int, block: Block) -> bool:
        self.tried_out.append(block.number)
        return self.succeeds

    def restart(self) -> Dispatcher:
        self.journal.close()
        self.journal = open_writer(self.path)
        self.dispatcher = self._dispatcher()
        self.pool.asked.clear()
        return self.dispatcher

    async def begin(self, number: int = 100) -> Dispatcher:
        await self.dispatcher.start(a_block(number))
        return self.dispatcher

    @property
    def sent(self) -> list[tuple[int, Fees]]:
        """Nonce and fees of everything that the node took."""
        return [(signed.nonce, signed.fees) for signed in map(decode_signed, self.pool.sent)]


@pytest.fixture
def world(tmp_path: Path) -> Generator[World]:
    world = World(tmp_path / "keeper.sqlite")
    yield world
    world.journal.close()


def only(changes: list[Change]) -> Change:
    (change,) = changes
    return change


# The ordinary way -----------------------------------------------------------------------------------------------------


async def test_a_batch_is_sent_once_with_twice_the_next_base_fee_and_the_tip(world: World) -> None:
    dispatcher = await world.begin()
    change = only(await dispatcher.submit(a_batch(), a_block(100)))
    assert change.intent.state is State.BROADCAST
    # 1 gwei may grow to 1.125 in the next block: twice that and 1 gwei of tip.
    assert world.sent == [(0, Fees(3_250_000_000, GWEI))]


async def test_bytes_are_durable_before_a_node_sees_them(world: World) -> None:
    seen: list[tuple[State, bytes]] = []

    def look(raw: bytes) -> None:
        reader = open_reader(world.path)
        (intent,) = reader.open_intents()
        reader.close()
        seen.append((intent.state, intent.attempts[-1].raw))
        assert raw == intent.attempts[-1].raw

    world.pool.on_send = look
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(), a_block(100))
    assert [state for state, _ in seen] == [State.SIGNED]


async def test_a_receipt_settles_it_and_the_next_batch_has_the_next_nonce(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(), a_block(100))
    world.pool.mine(a_block(101))
    change = only(await dispatcher.advance(a_block(101)))
    assert isinstance(change.intent.outcome, Included)
    assert change.intent.outcome.receipt.block_number == 101
    assert dispatcher.in_flight is None
    await dispatcher.submit(a_batch("plan-2"), a_block(101))
    assert [nonce for nonce, _ in world.sent] == [0, 1]


async def test_a_transaction_that_reverted_is_an_outcome(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(), a_block(100))
    world.pool.mine(a_block(101), succeeds=False)
    assert isinstance(only(await dispatcher.advance(a_block(101))).intent.outcome, Reverted)


@pytest.mark.parametrize(("block", "state"), [(101, State.MINED), (106, State.FINAL)])
async def test_the_first_receipt_is_told_as_such_however_late_it_is_seen(
    world: World, block: int, state: State
) -> None:
    dispatcher = await world.begin()
    assert not only(await dispatcher.submit(a_batch(), a_block(100))).is_first
    world.pool.mine(a_block(101))
    change = only(await dispatcher.advance(a_block(block)))
    assert (change.intent.state, change.is_first) == (state, True)
    if state is State.MINED:
        final = only(await dispatcher.advance(a_block(106)))
        assert (final.intent.state, final.is_first) == (State.FINAL, False)


async def test_what_was_included_elsewhere_after_a_reorganisation_is_told_again(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(), a_block(100))
    world.pool.mine(a_block(101))
    await dispatcher.advance(a_block(101))
    world.pool.reorganise()
    world.pool.mine(a_block(102, fork="b"), hash=transaction_hash(world.pool.sent[0]))
    change = only(await dispatcher.advance(a_block(102, fork="b"), blocks_may_be_gone=True))
    assert (change.intent.state, change.is_first) == (State.MINED, True)


async def test_what_is_mined_is_asked_for_again_only_when_it_may_be_final(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(), a_block(100))
    world.pool.mine(a_block(101))
    for number in range(101, 106):
        await dispatcher.advance(a_block(number))
    assert len(world.pool.asked) == 1
    change = only(await dispatcher.advance(a_block(106)))
    assert change.intent.state is State.FINAL
    assert len(world.pool.asked) == 2
    assert await dispatcher.advance(a_block(107)) == []
    assert len(world.pool.asked) == 2


async def test_where_the_chain_says_what_is_final_it_is_asked_once_in_eight_blocks_while_something_waits(
    world: World,
) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(), a_block(100))
    world.pool.mine(a_block(101))
    world.pool.final_number = 100
    for number in range(101, 114):
        await dispatcher.advance(a_block(number))
    assert (world.pool.final_asked, len(world.pool.asked)) == (1, 1)
    world.pool.final_number = 101
    assert only(await dispatcher.advance(a_block(114))).intent.state is State.FINAL
    for number in range(115, 140):
        await dispatcher.advance(a_block(number))
    assert (world.pool.final_asked, len(world.pool.asked)) == (2, 2)


async def test_a_batch_that_a_node_keeps_waiting_for_an_earlier_nonce_is_looked_at_with_all_before_it(
    world: World,
) -> None:
    """The block of the first is gone and nobody said so; the node takes the second only after it."""
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(), a_block(100))
    world.pool.mine(a_block(101))
    await dispatcher.advance(a_block(101))
    world.pool.reorganise()
    world.pool.faults.append(refused_by_node("nonce too high"))
    waits = only(await dispatcher.submit(a_batch("plan-2"), a_block(102)))
    assert waits.did == "waits with nonce 1: the node says nonce too high"
    await dispatcher.advance(a_block(103))
    assert [nonce for nonce, _ in world.sent] == [0, 0, 1]


async def test_a_batch_behind_one_that_was_given_up_gives_up_its_nonce_as_well(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(deadline=a_block(103).timestamp), a_block(100))
    world.pool.mine(a_block(101))
    await dispatcher.advance(a_block(101))
    await dispatcher.submit(a_batch("plan-2"), a_block(102))
    world.pool.reorganise()
    first, second = await dispatcher.advance(a_block(103, fork="b"), blocks_may_be_gone=True)
    assert first.intent.outcome == Abandoned("its deadline passed before it was included")
    says = "nothing of ours uses nonce 0 any more, and without it nonce 1 waits"
    assert second.intent.outcome == Abandoned(says)
    await dispatcher.submit(a_batch("plan-3"), a_block(103, fork="b"))
    assert world.sent[-1][0] == 0


async def test_one_receipt_is_asked_for_per_live_hash_and_block(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(), a_block(100))
    await dispatcher.advance(a_block(101))
    await dispatcher.advance(a_block(102))
    assert len(world.pool.asked) == 2
    await dispatcher.advance(a_block(103))  # 36 seconds: replaced
    world.pool.asked.clear()
    await dispatcher.advance(a_block(104))
    assert len(world.pool.asked) == len(set(world.pool.asked)) == 2


# Replacement ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("block", "sent"), [(102, 1), (103, 2), (104, 2)])
async def test_after_the_timeout_it_is_replaced_with_both_fees_raised(world: World, block: int, sent: int) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(), a_block(100))
    for number in range(101, block + 1):
        await dispatcher.advance(a_block(number))
    assert len(world.sent) == sent
    if sent == 2:
        assert world.sent[1] == (0, Fees(3_656_250_000, 1_125_000_000))


async def test_a_replacement_is_never_below_the_market(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(), a_block(100))
    await dispatcher.advance(a_block(103, base_fee_wei=8 * GWEI))
    assert world.sent[1] == (0, Fees(19_000_000_000, 1_125_000_000))


async def test_an_earlier_variant_that_is_included_counts(world: World) -> None:
    dispatcher = await world.begin()
    first = only(await dispatcher.submit(a_batch(), a_block(100))).intent.attempts[0].hash
    await dispatcher.advance(a_block(103))
    world.pool.mine(a_block(104), hash=first)
    change = only(await dispatcher.advance(a_block(104)))
    assert isinstance(change.intent.outcome, Included)
    assert change.intent.outcome.receipt.hash == first
    assert dispatcher.in_flight is None


async def test_no_replacement_above_what_is_at_risk(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(ceiling_gwei=3), a_block(100))
    assert world.sent == [(0, Fees(3 * GWEI, GWEI))]
    for number in range(101, 110):
        await dispatcher.advance(a_block(number))
    assert {signed.fees for signed in map(decode_signed, world.pool.sent)} == {Fees(3 * GWEI, GWEI)}


async def test_a_critical_batch_takes_the_nonce_of_a_routine_one_and_outbids_it(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(), a_block(100))
    assert dispatcher.takes(Lane.CRITICAL)
    replaced, sent = await dispatcher.submit(a_batch("plan-2", Lane.CRITICAL), a_block(101))
    assert replaced.intent.state is State.REPLACED
    assert replaced.intent.outcome == Abandoned("replaced by plan plan-2")
    assert sent.intent.plan_id == "plan-2"
    assert [nonce for nonce, _ in world.sent] == [0, 0]
    assert world.sent[1][1].max_fee_wei >= 3_656_250_000
    assert world.sent[1][1].tip_wei >= 1_125_000_000


@pytest.mark.parametrize(
    ("first", "second"),
    [(Lane.ROUTINE, Lane.ROUTINE), (Lane.CRITICAL, Lane.ROUTINE), (Lane.CRITICAL, Lane.CRITICAL)],
)
async def test_no_other_batch_is_taken_while_one_is_on_its_way(world: World, first: Lane, second: Lane) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(lane=first), a_block(100))
    assert not dispatcher.takes(second)
    with pytest.raises(ValueError, match="plan-1 is still on its way"):
        await dispatcher.submit(a_batch("plan-2", second), a_block(100))


@pytest.mark.parametrize(
    ("block", "ceiling_gwei", "is_taken"), [(102, 14, False), (103, 12, False), (103, 13, False), (103, 14, True)]
)
async def test_a_critical_batch_takes_the_place_of_one_that_is_stuck_at_a_lower_ceiling(
    world: World, block: int, ceiling_gwei: int, is_taken: bool
) -> None:
    """Sent at its ceiling of 13 gwei; then the base fee is 12 gwei, so no dearer bytes of it are made."""
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch("small", Lane.CRITICAL, ceiling_gwei=13), a_block(100, base_fee_wei=10 * GWEI))
    for number in range(101, block + 1):
        await dispatcher.advance(a_block(number, base_fee_wei=11 * GWEI))
    assert dispatcher.takes(Lane.CRITICAL) is (block == 103)
    fees = ceiling_gwei * GWEI, a_block(block, base_fee_wei=11 * GWEI)
    assert dispatcher.takes(Lane.CRITICAL, fees) is is_taken
    assert not dispatcher.takes(Lane.ROUTINE, fees)
    assert not dispatcher.takes(Lane.CRITICAL, fees, differs=False)


async def test_a_stuck_critical_batch_is_outbid_by_the_one_that_takes_its_place(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch("small", Lane.CRITICAL, ceiling_gwei=13), a_block(100, base_fee_wei=10 * GWEI))
    for number in range(101, 104):
        await dispatcher.advance(a_block(number, base_fee_wei=80 * GWEI))
    batch = a_batch("large", Lane.CRITICAL, ceiling_gwei=400)
    replaced, sent = await dispatcher.submit(batch, a_block(103, base_fee_wei=80 * GWEI))
    assert (replaced.intent.plan_id, replaced.intent.state) == ("small", State.REPLACED)
    assert sent.intent.state is State.BROADCAST
    # Twice 90 gwei, and the tip that outbids the earlier one.
    assert world.sent == [(0, Fees(13 * GWEI, GWEI)), (0, Fees(181 * GWEI, 1_125_000_000))]


async def test_after_a_batch_that_was_stuck_at_its_ceiling_the_next_one_goes_out_once_gas_is_cheap(
    world: World,
) -> None:
    dispatcher = await world.begin()
    deadline = a_block(110).timestamp
    await dispatcher.submit(
        a_batch("plan-1", Lane.CRITICAL, ceiling_gwei=60, deadline=deadline), a_block(100, base_fee_wei=45 * GWEI)
    )
    for number in range(101, 111):
        await dispatcher.advance(a_block(number, base_fee_wei=90 * GWEI))
    world.pool.forget()
    await dispatcher.submit(a_batch("plan-2", Lane.CRITICAL, ceiling_gwei=60), a_block(111, base_fee_wei=5 * GWEI))
    # 9/8 of the fee that was offered before; what it pays is 5 gwei and the tip.
    assert world.sent[-1] == (0, Fees(67_500_000_000, 1_125_000_000))


async def test_a_replaced_batch_that_lands_all_the_same_ends_the_other(world: World) -> None:
    dispatcher = await world.begin()
    old = only(await dispatcher.submit(a_batch(), a_block(100))).intent.attempts[0].hash
    await dispatcher.submit(a_batch("plan-2", Lane.CRITICAL), a_block(101))
    world.pool.mine(a_block(102), hash=old)
    landed, lost = await dispatcher.advance(a_block(102))
    assert (landed.intent.plan_id, type(landed.intent.outcome)) == ("plan-1", Included)
    assert lost.intent.outcome == Abandoned("another transaction used nonce 0")
    await dispatcher.submit(a_batch("plan-3"), a_block(102))
    assert [nonce for nonce, _ in world.sent] == [0, 0, 1]


# The guard's own pause ------------------------------------------------------------------------------------------------


def a_pause(number: int) -> Batch:
    return Batch(f"pause-{number}", Lane.CRITICAL, pause_calldata(), 100_000, FAR, 1_000 * GWEI)


@pytest.mark.parametrize("lane", Lane)
async def test_a_pause_of_the_guard_replaces_whatever_is_on_its_way(world: World, lane: Lane) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(lane=lane), a_block(100))
    replaced, sent = await dispatcher.submit(a_pause(100), a_block(100))
    assert replaced.intent.outcome == Abandoned("replaced by plan pause-100")
    assert sent.intent.state is State.BROADCAST
    _, again = await dispatcher.submit(a_pause(101), a_block(101))
    assert again.intent.state is State.BROADCAST
    assert not dispatcher.takes(Lane.CRITICAL, (1_000 * GWEI, a_block(101)), serves_more=True), "no rescue replaces it"


async def test_no_budget_holds_a_pause_of_the_guard_back(world: World) -> None:
    world.daily_budget_wei = 0
    dispatcher = world.restart()
    await dispatcher.start(a_block(100))
    assert only(await dispatcher.submit(a_pause(100), a_block(100))).intent.state is State.BROADCAST


async def test_while_nothing_may_be_sent_a_pause_of_the_guard_is_offered_again_and_made_dearer(world: World) -> None:
    dispatcher = await world.begin()
    world.pool.faults.append(NodeUnreachable("no node."))
    await dispatcher.submit(a_pause(100), a_block(100))
    assert only(await dispatcher.advance(a_block(101), may_send=False)).intent.state is State.BROADCAST
    await dispatcher.advance(a_block(103), may_send=False)
    assert [fees.max_fee_wei for _, fees in world.sent] == [3_250_000_000, 3_656_250_000]
    again = world.restart()
    world.pool.forget()
    assert only(await again.start(a_block(104), may_send=False)).intent.state is State.BROADCAST


# The private relay ----------------------------------------------------------------------------------------------------


async def with_relay(world: World) -> tuple[Dispatcher, FakePool]:
    world.relay = FakePool()
    dispatcher = world.restart()
    await dispatcher.start(a_block(100))
    return dispatcher, world.relay


@pytest.mark.parametrize(("lane", "blocks"), [(Lane.ROUTINE, 2), (Lane.CRITICAL, 1)])
async def test_for_its_lane_s_time_only_the_private_relay_is_given_a_transaction(
    world: World, lane: Lane, blocks: int
) -> None:
    dispatcher, relay = await with_relay(world)
    await dispatcher.submit(a_batch(lane=lane), a_block(100))
    for number in range(101, 100 + blocks):
        await dispatcher.advance(a_block(number))
    assert (len(relay.sent), len(world.pool.sent)) == (1, 0)
    change = only(await dispatcher.advance(a_block(100 + blocks)))
    assert change.intent.state is State.BROADCAST
    assert relay.sent == world.pool.sent


@pytest.mark.parametrize("fault", [NodeUnreachable("no relay."), refused_by_node("insufficient funds")])
async def test_what_the_private_relay_does_not_take_is_for_everybody_at_once(
    world: World, fault: NodeUnreachable
) -> None:
    dispatcher, relay = await with_relay(world)
    relay.faults.append(fault)
    assert only(await dispatcher.submit(a_batch(), a_block(100))).intent.state is State.BROADCAST
    assert (len(relay.sent), len(world.pool.sent)) == (0, 1)


async def test_what_only_the_private_relay_had_is_outbid_and_may_land_after_a_restart(world: World) -> None:
    dispatcher, relay = await with_relay(world)
    first = only(await dispatcher.submit(a_batch(deadline=a_block(101).timestamp), a_block(100))).intent.attempts[0]
    await dispatcher.advance(a_block(101))
    again = world.restart()
    await again.start(a_block(101))
    await again.submit(a_batch("plan-2"), a_block(101))
    assert decode_signed(relay.sent[-1]).fees == Fees(3_656_250_000, 1_125_000_000)
    world.pool.mine(a_block(102), hash=first.hash)
    landed, lost = await again.advance(a_block(102))
    assert (landed.intent.plan_id, lost.intent.plan_id) == ("plan-1", "plan-2")


# Giving up ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds_left", "is_given_up"), [(1, False), (0, True), (-1, True)])
async def test_at_its_deadline_it_is_given_up(world: World, seconds_left: int, is_given_up: bool) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(deadline=a_block(101).timestamp + seconds_left), a_block(100))
    changes = await dispatcher.advance(a_block(101))
    assert bool(changes) is is_given_up
    assert (dispatcher.in_flight is None) is is_given_up


async def test_what_is_given_up_keeps_its_nonce_and_its_fees_are_outbid(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(deadline=a_block(101).timestamp), a_block(100))
    await dispatcher.advance(a_block(101))
    await dispatcher.submit(a_batch("plan-2"), a_block(102))
    assert world.sent == [(0, Fees(3_250_000_000, GWEI)), (0, Fees(3_656_250_000, 1_125_000_000))]


async def test_what_is_given_up_may_still_land_and_is_reported(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(deadline=a_block(101).timestamp), a_block(100))
    await dispatcher.advance(a_block(101))
    world.pool.mine(a_block(102))
    change = only(await dispatcher.advance(a_block(102)))
    assert isinstance(change.intent.outcome, Included)
    await dispatcher.submit(a_batch("plan-2"), a_block(102))
    assert world.sent[-1][0] == 1


async def test_gas_above_what_is_at_risk_is_refused_and_nothing_is_signed(world: World) -> None:
    dispatcher = await world.begin()
    change = only(await dispatcher.submit(a_batch(ceiling_gwei=1), a_block(100)))
    assert isinstance(change.intent.outcome, Refused)
    assert change.intent.attempts == ()
    assert world.pool.sent == []
    assert dispatcher.in_flight is None


@pytest.mark.parametrize(("budget_wei", "is_sent"), [(679_687_500_000_000, True), (679_687_499_999_999, False)])
async def test_the_day_s_budget_holds(world: World, budget_wei: int, is_sent: bool) -> None:
    """300,000 gas at 1.265625 gwei, the most in two blocks, and a tip of 1 gwei."""
    world.daily_budget_wei = budget_wei
    dispatcher = world.restart()
    await dispatcher.start(a_block(100))
    change = only(await dispatcher.submit(a_batch(), a_block(100)))
    assert isinstance(change.intent.outcome, Refused) is not is_sent
    assert bool(world.pool.sent) is is_sent


async def test_what_was_spent_counts_against_the_budget(world: World) -> None:
    world.daily_budget_wei = 679_687_500_000_000 + 200_000 * GWEI - 1
    dispatcher = world.restart()
    await dispatcher.start(a_block(100))
    await dispatcher.submit(a_batch(), a_block(100))
    world.pool.mine(a_block(101))
    await dispatcher.advance(a_block(101))
    change = only(await dispatcher.submit(a_batch("plan-2"), a_block(101)))
    assert isinstance(change.intent.outcome, Refused)
    assert "0.0002 ETH were spent in 24 hours" in change.intent.outcome.reason


async def test_a_budget_that_is_used_up_meanwhile_lets_nothing_be_made_dearer(world: World) -> None:
    """300,000 gas at 2.390625 gwei for the dearer bytes: 1.265625 of base fee and 1.125 of tip."""
    for budget_wei, sent in ((717_187_500_000_000, 2), (717_187_499_999_999, 1)):
        world.pool.sent.clear()
        world.pool.forget()
        world.daily_budget_wei = budget_wei
        dispatcher = world.restart()
        await dispatcher.start(a_block(100))
        plan_id = f"plan-{budget_wei}"
        await dispatcher.submit(a_batch(plan_id, deadline=a_block(104).timestamp), a_block(100))
        changes = await dispatcher.advance(a_block(103))
        assert len(world.sent) == sent
        assert any("not made dearer: it would cost up to" in change.did for change in changes) is (sent == 1)
        await dispatcher.advance(a_block(104))
        world.pool.nonce += 1


@pytest.mark.parametrize(("lane", "is_sent"), [(Lane.ROUTINE, False), (Lane.CRITICAL, True)])
async def test_the_emergency_reserve_is_for_urgent_batches_alone(world: World, lane: Lane, is_sent: bool) -> None:
    world.daily_budget_wei, world.reserve_wei = 679_687_500_000_000, 1
    dispatcher = world.restart()
    await dispatcher.start(a_block(100))
    await dispatcher.submit(a_batch(lane=lane), a_block(100))
    assert bool(world.pool.sent) is is_sent


async def test_what_the_signer_refuses_is_refused(world: World) -> None:
    dispatcher = await world.begin()
    change = only(await dispatcher.submit(replace(a_batch(), calldata=b"\xde\xad\xbe\xef"), a_block(100)))
    assert isinstance(change.intent.outcome, Refused)
    assert "calls neither rebalance nor pause" in change.intent.outcome.reason
    assert dispatcher.in_flight is None


# What nodes say -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [NodeUnreachable("no node."), BadAnswer("half an answer.")])
async def test_bytes_of_which_nothing_is_known_are_sent_again_unchanged(world: World, fault: NodeUnreachable) -> None:
    dispatcher = await world.begin()
    world.pool.faults.append(fault)
    change = only(await dispatcher.submit(a_batch(), a_block(100)))
    assert change.intent.state is State.SIGNED
    assert change.did == f"not known to be sent: {fault}"
    assert only(await dispatcher.advance(a_block(101))).intent.state is State.BROADCAST
    assert world.pool.sent == [change.intent.attempts[0].raw]


async def test_a_send_whose_answer_was_lost_takes_effect_once(world: World) -> None:
    dispatcher = await world.begin()
    world.pool.loses_answers = True
    await dispatcher.submit(a_batch(), a_block(100))
    world.pool.loses_answers = False
    change = only(await dispatcher.advance(a_block(101)))
    assert change.did.startswith("sent before as 0x")
    assert change.intent.state is State.BROADCAST
    assert len(world.pool.sent) == 1


@pytest.mark.parametrize("reason", [*TOO_DEAR, "invalid chain id for signer"])
async def test_what_no_node_will_take_is_refused(world: World, reason: str) -> None:
    dispatcher = await world.begin()
    world.pool.faults.extend([refused_by_node(reason)] * 2)
    change = only(await dispatcher.submit(a_batch(), a_block(100)))
    assert change.intent.outcome == Refused(f"the node refuses it: {reason}")
    assert dispatcher.in_flight is None


async def test_the_same_plan_is_not_tried_twice(world: World) -> None:
    dispatcher = await world.begin()
    world.pool.faults.extend([refused_by_node("insufficient funds")] * 2)
    refused = only(await dispatcher.submit(a_batch(), a_block(100)))
    again = only(await dispatcher.submit(a_batch(), a_block(100)))
    assert again.intent == refused.intent
    assert again.did.startswith("not sent again")
    assert world.pool.sent == []


@pytest.mark.parametrize("reason", TOO_DEAR)
async def test_what_is_too_dear_for_a_node_is_offered_at_the_least_that_the_next_block_takes(
    world: World, reason: str
) -> None:
    dispatcher = await world.begin()
    world.pool.faults.append(refused_by_node(reason))
    change = only(await dispatcher.submit(a_batch(), a_block(100)))
    assert change.intent.state is State.BROADCAST
    # The next base fee is at most 1.125 gwei, and the tip is 1 gwei.
    assert world.sent == [(0, Fees(2_125_000_000, GWEI))]


async def test_an_empty_hot_key_makes_nothing_dearer_and_when_it_is_filled_the_next_batch_goes_out(
    world: World,
) -> None:
    dispatcher = await world.begin()
    world.pool.faults.extend([refused_by_node("insufficient funds for gas * price + value")] * 200)
    for number in range(100, 200):
        assert await dispatcher.advance(a_block(number)) == []
        change = only(await dispatcher.submit(a_batch(f"plan-{number}", Lane.CRITICAL), a_block(number)))
        assert isinstance(change.intent.outcome, Refused)
        assert [attempt.fees.max_fee_wei for attempt in change.intent.attempts] == [3_250_000_000, 2_125_000_000]
    assert world.pool.asked == [], "what the node refused has no receipt"
    again = world.restart()
    assert await again.start(a_block(200)) == []
    assert world.pool.asked == []
    await again.submit(a_batch("plan-200", Lane.CRITICAL), a_block(200))
    assert world.sent == [(0, Fees(3_250_000_000, GWEI))]


async def test_what_a_node_may_have_is_given_up_and_not_refused_when_it_refuses_it_later(world: World) -> None:
    dispatcher = await world.begin()
    world.pool.faults.append(NodeUnreachable("half an answer."))
    await dispatcher.submit(a_batch(), a_block(100))
    world.pool.faults.extend([refused_by_node("insufficient funds")] * 2)
    change = only(await dispatcher.advance(a_block(101)))
    assert isinstance(change.intent.outcome, Abandoned)
    await dispatcher.submit(a_batch("plan-2"), a_block(101))
    assert world.sent == [(0, Fees(3_656_250_000, 1_125_000_000))], "it outbids what may be in a pool"


@pytest.mark.parametrize("reason", ["replacement transaction underpriced", "max fee per gas less than block base fee"])
async def test_fees_that_a_node_finds_too_low_are_raised_at_once(world: World, reason: str) -> None:
    dispatcher = await world.begin()
    world.pool.faults.append(refused_by_node(reason))
    change = only(await dispatcher.submit(a_batch(), a_block(100)))
    assert change.intent.state is State.BROADCAST
    assert world.sent == [(0, Fees(3_656_250_000, 1_125_000_000))]
    assert len(change.intent.attempts) == 2, "the refused bytes are remembered as well"


async def test_fees_are_raised_three_times_a_block_at_most(world: World) -> None:
    dispatcher = await world.begin()
    world.pool.faults.extend([refused_by_node("transaction underpriced")] * 10)
    change = only(await dispatcher.submit(a_batch(), a_block(100)))
    assert change.intent.state is State.SIGNED
    assert len(change.intent.attempts) == 3


async def test_a_node_that_finds_every_fee_too_low_drives_no_batch_above_its_ceiling_and_none_after_it(
    world: World,
) -> None:
    dispatcher = await world.begin()
    world.pool.faults.extend([refused_by_node("transaction underpriced")] * 100)
    await dispatcher.submit(a_batch(ceiling_gwei=20, deadline=a_block(125).timestamp), a_block(100))
    for number in range(101, 125):
        await dispatcher.advance(a_block(number))
    intent = only(await dispatcher.advance(a_block(125))).intent
    assert max(attempt.fees.max_fee_wei for attempt in intent.attempts) <= 20 * GWEI
    assert intent.outcome == Refused("its deadline passed before it was included")
    world.pool.faults.clear()
    await dispatcher.submit(a_batch("plan-2"), a_block(126))
    assert world.sent == [(0, Fees(3_250_000_000, GWEI))]


async def test_a_node_with_a_full_pool_is_asked_again(world: World) -> None:
    dispatcher = await world.begin()
    world.pool.faults.extend([refused_by_node("txpool is full"), refused_by_node("who knows")])
    await dispatcher.submit(a_batch(), a_block(100))
    assert only(await dispatcher.advance(a_block(101))).did == "not taken by the node: who knows"
    assert only(await dispatcher.advance(a_block(102))).intent.state is State.BROADCAST


async def test_a_nonce_that_somebody_else_used_is_given_up_and_the_next_one_taken(world: World) -> None:
    dispatcher = await world.begin()
    world.pool.nonce = 5
    change = only(await dispatcher.submit(a_batch(), a_block(100)))
    assert change.intent.outcome == Abandoned("another transaction used nonce 0")
    await dispatcher.submit(a_batch("plan-2"), a_block(101))
    assert [nonce for nonce, _ in world.sent] == [5]


async def test_a_receipt_that_is_shown_later_than_its_nonce_is_counted_is_not_missed(world: World) -> None:
    dispatcher = await world.begin()
    hash = only(await dispatcher.submit(a_batch(), a_block(100))).intent.attempts[0].hash
    world.pool.nonce = 1
    lost = only(await dispatcher.advance(a_block(102)))
    assert lost.intent.outcome == Abandoned("another transaction used nonce 0")
    world.pool.nonce = 0
    world.pool.mine(a_block(101), hash=hash)
    landed = only(await dispatcher.advance(a_block(103)))
    assert (landed.did, landed.is_first) == (f"included in block 101 as {hash}", True)


async def test_a_receipt_that_nobody_shows_is_asked_for_until_the_deadline(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(deadline=a_block(104).timestamp), a_block(100))
    world.pool.nonce = 1
    await dispatcher.advance(a_block(102))
    world.pool.asked.clear()
    for number in range(103, 107):
        await dispatcher.advance(a_block(number))
    assert len(world.pool.asked) == 2


async def test_a_nonce_that_an_abandoned_batch_used_reports_that_batch(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(deadline=a_block(101).timestamp), a_block(100))
    await dispatcher.advance(a_block(101))
    world.pool.mine(a_block(102))
    landed, lost = await dispatcher.submit(a_batch("plan-2"), a_block(101))
    assert (landed.intent.plan_id, type(landed.intent.outcome)) == ("plan-1", Included)
    assert (lost.intent.plan_id, type(lost.intent.outcome)) == ("plan-2", Abandoned)


async def test_a_pool_that_forgot_the_transaction_gets_it_again(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(), a_block(100))
    world.pool.forget()
    assert await dispatcher.advance(a_block(101)) == []
    only(await dispatcher.advance(a_block(102)))
    assert world.pool.sent[0] == world.pool.sent[1]


# Reorganisations ------------------------------------------------------------------------------------------------------


async def test_what_was_reorganised_away_and_would_not_succeed_any_more_is_given_up(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(), a_block(100))
    world.pool.mine(a_block(101))
    await dispatcher.advance(a_block(101))
    world.pool.reorganise()
    world.succeeds = False
    change = only(await dispatcher.advance(a_block(102, fork="b"), blocks_may_be_gone=True))
    assert change.intent.outcome == Abandoned("it would not succeed any more")
    assert (world.tried_out, len(world.pool.sent)) == ([102], 1)


@pytest.mark.parametrize("blocks_later", [1, 5])
async def test_what_was_reorganised_away_is_sent_again(world: World, blocks_later: int) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(), a_block(100))
    world.pool.mine(a_block(101))
    await dispatcher.advance(a_block(101))
    world.pool.reorganise()
    block = a_block(101 + blocks_later, fork="b")
    # A reorganisation that nobody noticed is found when the transaction should be final.
    change = only(await dispatcher.advance(block, blocks_may_be_gone=blocks_later == 1))
    assert change.intent.state is State.BROADCAST
    assert world.pool.sent[0] == world.pool.sent[1]
    world.pool.mine(a_block(107, fork="b"))
    assert isinstance(only(await dispatcher.advance(a_block(107, fork="b"))).intent.outcome, Included)


async def test_a_batch_sent_after_one_that_was_reorganised_away_keeps_its_own_nonce(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(), a_block(100))
    world.pool.mine(a_block(101))
    await dispatcher.advance(a_block(101))
    world.pool.reorganise()
    await dispatcher.submit(a_batch("plan-2"), a_block(101))
    await dispatcher.advance(a_block(102, fork="b"), blocks_may_be_gone=True)
    assert [nonce for nonce, _ in world.sent] == [0, 1, 0]
    world.pool.mine(a_block(103, fork="b"))
    world.pool.mine(a_block(103, fork="b"))
    await dispatcher.advance(a_block(103, fork="b"))
    assert dispatcher.in_flight is None


async def test_a_reorganisation_that_nobody_noticed_and_that_took_the_replaced_batch_instead(world: World) -> None:
    dispatcher = await world.begin()
    old = only(await dispatcher.submit(a_batch(), a_block(100))).intent.attempts[0].hash
    await dispatcher.submit(a_batch("plan-2", Lane.CRITICAL), a_block(101))
    world.pool.mine(a_block(102))
    await dispatcher.advance(a_block(102))
    world.pool.reorganise()
    world.pool.mine(a_block(103, fork="b"), hash=old)
    landed, lost = await dispatcher.advance(a_block(107, fork="b"))
    assert (landed.intent.plan_id, type(landed.intent.outcome)) == ("plan-1", Included)
    assert (lost.intent.plan_id, lost.intent.outcome) == ("plan-2", Abandoned("another transaction used nonce 0"))
    assert len(world.pool.sent) == 2


async def test_what_a_reorganisation_brings_back_outbids_also_what_came_after_it_with_its_nonce(world: World) -> None:
    dispatcher = await world.begin()
    old = only(await dispatcher.submit(a_batch(), a_block(100))).intent.attempts[0].hash
    await dispatcher.submit(a_batch("plan-2", Lane.CRITICAL), a_block(101))
    world.pool.mine(a_block(102), hash=old)
    await dispatcher.advance(a_block(102))
    world.pool.reorganise()
    await dispatcher.advance(a_block(103, fork="b"), blocks_may_be_gone=True)
    await dispatcher.advance(a_block(106, fork="b"))
    first, second, again, last = (fees for _, fees in world.sent)
    assert [nonce for nonce, _ in world.sent] == [0, 0, 0, 0]
    assert again == first, "as long as it is not stuck the same bytes do"
    assert last.tip_wei * 8 >= second.tip_wei * 9
    assert last.max_fee_wei * 8 >= second.max_fee_wei * 9


async def test_a_nonce_whose_block_is_known_is_not_used_again_because_a_node_counts_too_few(world: World) -> None:
    dispatcher = await world.begin()
    for number, plan_id in ((100, "plan-1"), (101, "plan-2")):
        await dispatcher.submit(a_batch(plan_id, deadline=a_block(103).timestamp), a_block(number))
        world.pool.mine(a_block(number + 1))
        await dispatcher.advance(a_block(number + 1))
    world.pool.reorganise()
    world.pool.nonce = 0  # of a node that has not seen the first block either
    await dispatcher.advance(a_block(103), blocks_may_be_gone=True)
    world.pool.nonce = 1
    await dispatcher.submit(a_batch("plan-3"), a_block(103))
    assert [nonce for nonce, _ in world.sent] == [0, 1, 1]


# Restart --------------------------------------------------------------------------------------------------------------


async def test_bytes_signed_and_never_sent_are_sent_after_a_restart(world: World) -> None:
    dispatcher = await world.begin()
    world.pool.faults.append(NodeUnreachable("killed here."))
    signed = only(await dispatcher.submit(a_batch(), a_block(100))).intent.attempts[0]
    again = world.restart()
    change = only(await again.start(a_block(101)))
    assert change.did == f"sent as {signed.hash}"
    assert world.pool.sent == [signed.raw]
    assert again.in_flight is not None


async def test_bytes_that_would_not_succeed_any_more_are_given_up_after_a_restart(world: World) -> None:
    dispatcher = await world.begin()
    world.pool.faults.append(NodeUnreachable("killed here."))
    await dispatcher.submit(a_batch(), a_block(100))
    again = world.restart()
    world.succeeds = False
    change = only(await again.start(a_block(101)))
    assert change.intent.outcome == Abandoned("it would not succeed any more")
    assert world.pool.sent == []
    await again.submit(a_batch("plan-2"), a_block(101))
    assert world.sent == [(0, Fees(3_656_250_000, 1_125_000_000))], "the nonce is the same, the fees are higher"


async def test_what_was_mined_meanwhile_is_settled_after_a_restart_without_a_simulation(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(), a_block(100))
    world.pool.mine(a_block(101))
    again = world.restart()
    world.succeeds = False
    change = only(await again.start(a_block(102)))
    assert isinstance(change.intent.outcome, Included)
    await again.submit(a_batch("plan-2"), a_block(102))
    assert [nonce for nonce, _ in world.sent] == [0, 1]


async def test_without_leave_to_send_a_restart_offers_nothing_and_settles_all_the_same(world: World) -> None:
    dispatcher = await world.begin()
    world.pool.faults.append(NodeUnreachable("killed here."))
    await dispatcher.submit(a_batch(), a_block(100))
    again = world.restart()
    assert await again.start(a_block(101), may_send=False) == []
    assert world.pool.sent == []
    assert again.in_flight is not None
    assert await again.advance(a_block(102), may_send=False) == []
    assert only(await again.advance(a_block(103))).intent.state is State.BROADCAST


async def test_a_start_that_the_node_disturbed_is_made_again(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(), a_block(100))
    world.pool.mine(a_block(101))
    again = world.restart()
    world.pool.receipt_faults.append(NodeUnreachable("no receipts."))
    with pytest.raises(NodeUnreachable):
        await again.start(a_block(102))
    change = only(await again.start(a_block(102)))
    assert isinstance(change.intent.outcome, Included)
    assert change.is_first


async def test_a_deadline_that_passed_meanwhile_ends_it_after_a_restart(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(deadline=a_block(101).timestamp), a_block(100))
    again = world.restart()
    change = only(await again.start(a_block(105)))
    assert change.intent.outcome == Abandoned("its deadline passed before it was included")
    assert len(world.pool.sent) == 1


async def test_what_was_given_up_before_a_restart_is_still_watched_and_outbid(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(deadline=a_block(101).timestamp), a_block(100))
    await dispatcher.advance(a_block(101))
    again = world.restart()
    assert await again.start(a_block(102)) == []
    await again.submit(a_batch("plan-2"), a_block(102))
    assert world.sent[1] == (0, Fees(3_656_250_000, 1_125_000_000))
    world.pool.mine(a_block(103))
    assert only(await again.advance(a_block(103))).intent.plan_id == "plan-2"


async def test_what_was_given_up_and_landed_while_nobody_looked_is_told_after_a_restart(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(deadline=a_block(101).timestamp), a_block(100))
    await dispatcher.advance(a_block(101))
    world.pool.mine(a_block(102))
    change = only(await world.restart().start(a_block(103)))
    assert (type(change.intent.outcome), change.is_first) == (Included, True)


async def given_up_and_outbid(world: World) -> str:
    """Plan 1 was given up and plan 2 is on its way with the same nonce; returns the hash of plan 1."""
    dispatcher = await world.begin()
    first = only(await dispatcher.submit(a_batch(deadline=a_block(101).timestamp), a_block(100)))
    await dispatcher.advance(a_block(101))
    await dispatcher.submit(a_batch("plan-2"), a_block(101))
    return first.intent.attempts[0].hash


async def test_what_landed_before_a_restart_ends_what_wanted_the_same_nonce(world: World) -> None:
    hash = await given_up_and_outbid(world)
    world.pool.mine(a_block(102), hash=hash)
    world.pool.nonce = 0  # a node that counts too few
    landed, lost = await world.restart().start(a_block(102))
    assert (landed.intent.plan_id, type(landed.intent.outcome)) == ("plan-1", Included)
    assert (lost.intent.plan_id, lost.intent.outcome) == ("plan-2", Abandoned("another transaction used nonce 0"))
    assert len(world.pool.sent) == 2


async def test_what_lands_after_a_restart_ends_what_wanted_the_same_nonce_in_the_same_block(world: World) -> None:
    hash = await given_up_and_outbid(world)
    again = world.restart()
    await again.start(a_block(101))
    world.pool.mine(a_block(102), hash=hash)
    landed, lost = await again.advance(a_block(102))
    assert (landed.intent.plan_id, lost.intent.plan_id) == ("plan-1", "plan-2")
    assert again.in_flight is None


async def test_a_replacement_works_on_bytes_from_before_a_restart(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(), a_block(100))
    again = world.restart()
    await again.start(a_block(101))
    await again.advance(a_block(103))
    first, _, last = map(decode_signed, [world.pool.sent[0], world.pool.sent[0], world.pool.sent[-1]])
    assert last == replace(first, fees=Fees(3_656_250_000, 1_125_000_000))


async def test_a_receipt_that_was_seen_and_not_told_is_told_by_the_next_process(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(), a_block(100))
    world.pool.mine(a_block(101))
    await dispatcher.advance(a_block(101))
    for number in (102, 110):
        change = only(await world.restart().start(a_block(number)))
        assert (change.intent.plan_id, change.is_first) == ("plan-1", True)
    world.journal.record_rescues("plan-1", (), a_block(110).timestamp)
    assert await world.restart().start(a_block(111)) == []


async def test_a_second_restart_changes_nothing(world: World) -> None:
    dispatcher = await world.begin()
    await dispatcher.submit(a_batch(), a_block(100))
    world.pool.mine(a_block(101))
    await dispatcher.advance(a_block(101))
    world.journal.record_rescues("plan-1", (), a_block(101).timestamp)
    for _ in range(2):
        again = world.restart()
        assert await again.start(a_block(102)) == []
    assert len(world.pool.sent) == 1


# Fees -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("blocks", "asked"), [(1, 1), (10, 1), (11, 2), (20, 2), (21, 3)])
async def test_fees_are_asked_for_once_in_ten_blocks(blocks: int, asked: int) -> None:
    source = FakeFees()
    oracle = FeeOracle(source, tip_wei_min=GWEI)
    for number in range(100, 100 + blocks):
        await oracle.refresh(a_block(number))
    assert source.asked == asked


@pytest.mark.parametrize(
    ("tips_gwei", "market_gwei"), [((0, 0), (2, 2)), ((2, 2), (2, 2)), ((3, 7), (3, 7)), ((5, 1), (5, 5))]
)
async def test_the_tip_is_the_market_s_and_never_below_the_configured_one(
    tips_gwei: tuple[int, int], market_gwei: tuple[int, int]
) -> None:
    oracle = FeeOracle(FakeFees([(tips_gwei[0] * GWEI, tips_gwei[1] * GWEI)]), tip_wei_min=2 * GWEI)
    await oracle.refresh(a_block(100))
    market = oracle.market(a_block(100))
    assert (market.tip_routine_wei, market.tip_critical_wei) == (market_gwei[0] * GWEI, market_gwei[1] * GWEI)


async def test_one_block_with_absurd_tips_does_not_decide_what_we_pay() -> None:
    usual = [(2 * GWEI, 3 * GWEI)] * 6
    oracle = FeeOracle(FakeFees(tips_wei=[*usual, (500 * GWEI, 900 * GWEI)]), tip_wei_min=GWEI)
    await oracle.refresh(a_block(100))
    market = oracle.market(a_block(100))
    assert (market.tip_routine_wei, market.tip_critical_wei) == (2 * GWEI, 3 * GWEI)


async def test_a_storm_costs_what_blocks_paid_lately() -> None:
    """1 gwei in the blocks of the history, 3 of tip; the block at hand is at 90, and the next one at 101.25 at most."""
    oracle = FeeOracle(FakeFees(), tip_wei_min=GWEI)
    await oracle.refresh(a_block(100))
    calm, dear = (oracle.storm(a_block(101, base_fee_wei=gwei * GWEI)) for gwei in (1, 90))
    assert (calm.base_fee_wei, calm.tip_critical_wei) == (20 * GWEI, 3 * GWEI)
    assert dear.base_fee_wei == 101_250_000_000


@pytest.mark.parametrize(("base_fee", "next_base_fee"), [(8, 9), (1, 2), (10**9, 1_125_000_000), (0, 0)])
def test_the_next_base_fee_is_the_highest_that_it_can_be(base_fee: int, next_base_fee: int) -> None:
    block: Block = a_block(base_fee_wei=base_fee)
    assert FeeOracle(FakeFees(), tip_wei_min=1).market(block).base_fee_wei == next_base_fee
