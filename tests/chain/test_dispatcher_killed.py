"""Killed wherever the dispatcher touches the journal or the node: nothing is lost and nothing happens twice."""

from pathlib import Path

import pytest
from eth_account import Account

from keeper.chain.answers import MinedTransaction
from keeper.chain.batch import Batch
from keeper.chain.dispatcher import Dispatcher
from keeper.chain.fees import FeeOracle
from keeper.chain.signer import KeystoreSigner, Scope, decode_signed
from keeper.core.fees import Budget, FeePolicy
from keeper.core.intent import Included, Intent
from keeper.core.plan import Lane
from keeper.core.snapshot import Block
from keeper.core.units import Address
from keeper.journal import Journal, open_writer
from keeper.protocols.abi import interface
from tests.builders import GUARD
from tests.fakes import FakeFees, FakePool, a_block

SIGNER_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
FAR = a_block(10_000).timestamp
POINTS = 70
"""More than there are in the story; past its last point it is told without a death."""


class Killed(BaseException):
    """The process is gone: nothing in it runs any more."""


class Fuse:
    """Burns a step before and after each touch of the outside world."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def burn(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise Killed


class MortalPool:
    def __init__(self, pool: FakePool, fuse: Fuse) -> None:
        self._pool = pool
        self._fuse = fuse

    async def transaction_count(self, account: Address) -> int:
        self._fuse.burn()
        return await self._pool.transaction_count(account)

    async def receipt(self, hash: str) -> MinedTransaction | None:
        self._fuse.burn()
        return await self._pool.receipt(hash)

    async def finalized_number(self) -> int | None:
        self._fuse.burn()
        return await self._pool.finalized_number()

    async def send_raw(self, raw: bytes) -> str:
        self._fuse.burn()
        hash = await self._pool.send_raw(raw)
        self._fuse.burn()
        return hash


class MortalJournal:
    def __init__(self, journal: Journal, fuse: Fuse) -> None:
        self._journal = journal
        self._fuse = fuse

    def save_intent(self, intent: Intent, now: int) -> None:
        self._fuse.burn()
        self._journal.save_intent(intent, now)
        self._fuse.burn()

    def open_intents(self) -> tuple[Intent, ...]:
        return self._journal.open_intents()

    def intents_from_nonce(self, nonce: int) -> tuple[Intent, ...]:
        return self._journal.intents_from_nonce(nonce)

    def final_nonce(self) -> int:
        return self._journal.final_nonce()

    def untold_intents(self) -> tuple[Intent, ...]:
        return self._journal.untold_intents()

    def spent_since(self, since: int) -> int:
        return self._journal.spent_since(since)


def a_batch(plan_id: str, lane: Lane, deadline: int = FAR) -> Batch:
    calldata = interface("MarginGuard")["rebalance"].encode(plan_id.encode().ljust(32), deadline, [])
    return Batch(plan_id, lane, calldata, 300_000, deadline, 10**12)


class MortalRelay:
    """Hands on what it is given, as builders do."""

    def __init__(self, pool: FakePool, fuse: Fuse) -> None:
        self._pool = pool
        self._fuse = fuse

    async def send_raw(self, raw: bytes) -> str:
        self._fuse.burn()
        hash = await self._pool.send_raw(raw)
        self._fuse.burn()
        return hash


def a_dispatcher(pool: FakePool, journal: Journal, steps: int) -> Dispatcher:
    fuse = Fuse(steps)
    return Dispatcher(
        MortalPool(pool, fuse),
        KeystoreSigner(Account.from_key(SIGNER_KEY), Scope(1, GUARD, max_fee_wei_max=10**12)),
        MortalJournal(journal, fuse),
        FeeOracle(FakeFees(), tip_wei_min=10**9),
        FeePolicy(replace_after_seconds=36, resend_after_seconds=24, final_after_blocks=5, private_routine_seconds=12),
        chain_id=1,
        guard=GUARD,
        budget=Budget(10**18),
        still_succeeds=still_succeeds,
        relay=MortalRelay(pool, fuse),
    )


async def story(dispatcher: Dispatcher, pool: FakePool, mined: list[bytes], first_block: int) -> int:
    """Two routine batches; the second gets stuck and gives way to a critical one. Returns the last block."""

    def mine(number: int) -> None:
        before = len(pool.sent)
        pool.mine(a_block(number))
        mined.append(pool.sent[before - 1])

    number = first_block
    await dispatcher.start(a_block(number))
    for name, lane, stuck_blocks in (
        ("routine-1", Lane.ROUTINE, 1),
        ("routine-2", Lane.ROUTINE, 5),
        ("critical-3", Lane.CRITICAL, 1),
    ):
        if dispatcher.takes(lane) and name not in names(mined):
            # Planned anew at another block a plan has another id.
            await dispatcher.submit(a_batch(f"{name}/{number}", lane), a_block(number))
        for _ in range(stuck_blocks):
            number += 1
            await dispatcher.advance(a_block(number))
        if name != "routine-2" and pool.has_waiting:
            mine(number)
            number += 1
            await dispatcher.advance(a_block(number))
    return number


def plan_of(raw: bytes) -> str:
    return decode_signed(raw).data[4:36].rstrip(b"\0 ").decode()


def names(mined: list[bytes]) -> list[str]:
    return [plan_of(raw).split("/")[0] for raw in mined]


async def still_succeeds(_calldata: bytes, _gas: int, _block: Block) -> bool:
    return True


@pytest.mark.parametrize("steps", range(1, POINTS))
async def test_whatever_the_moment_of_death(tmp_path: Path, steps: int) -> None:
    pool, mined = FakePool(), list[bytes]()
    journal = open_writer(tmp_path / "keeper.sqlite")
    number = 100
    try:
        number = await story(a_dispatcher(pool, journal, steps), pool, mined, 100)
    except Killed:
        number = 120
    journal.close()
    journal = open_writer(tmp_path / "keeper.sqlite")
    survivor = a_dispatcher(pool, journal, 10**9)
    number = await story(survivor, pool, mined, number + 1)
    while survivor.in_flight is not None:
        number += 1
        await survivor.advance(a_block(number))
        if pool.has_waiting:
            pool.mine(a_block(number))
            mined.append(pool.sent[-1])

    took_effect = names(mined)
    assert len(took_effect) == len(set(took_effect)), "nothing takes effect twice"
    assert {"routine-1", "critical-3"} <= set(took_effect), "nothing that was to happen is lost"
    assert [decode_signed(raw).nonce for raw in mined] == list(range(len(mined))), "no nonce is skipped"
    for intent in journal.intents_from_nonce(0):
        is_mined = any(attempt.raw in mined for attempt in intent.attempts)
        assert isinstance(intent.outcome, Included) is is_mined, "the journal knows what happened"
    journal.close()
