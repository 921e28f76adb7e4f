"""The real keeper, put together so that the same cycle can be run again and again on one block.

Everything is the daemon's own, the journal and its writes to the disk included; only the node that takes the
transactions is listened to.
"""

import statistics
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry

from keeper.alerts import Alerts
from keeper.chain.answers import MinedTransaction
from keeper.chain.dispatcher import Dispatcher
from keeper.chain.fees import FeeOracle
from keeper.chain.rpc import Rpc
from keeper.chain.signer import KeystoreSigner, Scope, decode_signed, open_keystore
from keeper.chain.simulate import Simulator
from keeper.config import Config
from keeper.core.fees import FeePolicy
from keeper.core.plan import History
from keeper.core.planner import make_plan
from keeper.core.snapshot import Block
from keeper.core.units import Address
from keeper.daemon import Keeper
from keeper.errors import ConfigError, KeeperError
from keeper.journal import open_writer
from keeper.protocols.guard_batch import budgets, encode_rebalance, simulated_gas, transaction_gas
from keeper.service import keep_collector_away
from keeper.session import Session, open_session
from keeper.telemetry import Metrics, Redaction, Vitals, set_up_logging
from scripts.benchmarks.wallet import remove_journal

SIMULATED_RESCUE_GAS = 200_000


@dataclass(frozen=True, slots=True)
class Acted:
    """One cycle that sent a batch, from the head to the node's acceptance."""

    seconds: float
    processor_seconds: float
    """Of our own process, all of it: transport, journal and plan included."""
    raw: bytes


@dataclass(frozen=True, slots=True)
class Parts:
    """Processor seconds, medians."""

    decode: float
    assess: float
    plan: float
    encode: float
    sign: float

    @property
    def python(self) -> float:
        """All but the plan."""
        return self.decode + self.assess + self.encode + self.sign


class Stopwatch:
    """The dispatcher's node, noting when a transaction was accepted."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self.accepted_at = 0.0
        self.processor_at = 0.0
        self.raw = b""

    async def transaction_count(self, account: Address) -> int:
        return await self._rpc.transaction_count(account)

    async def receipt(self, hash: str) -> MinedTransaction | None:
        return await self._rpc.receipt(hash)

    async def finalized_number(self) -> int | None:
        return None

    async def send_raw(self, raw: bytes) -> str:
        hash = await self._rpc.send_raw(raw)
        self.accepted_at, self.processor_at, self.raw = time.perf_counter(), time.thread_time(), raw
        return hash


async def no_longer(_calldata: bytes, _gas: int, _block: Block) -> bool:
    return False


class Laboratory:
    """Cycles at `block`, for as long as the chain stands still there."""

    def __init__(self, session: Session, signer: KeystoreSigner, fees: FeeOracle, block: Block) -> None:
        self.session = session
        self.block = block
        self._signer = signer
        self._fees = fees

    async def act(self) -> Acted:
        """A cycle that sends. Raises KeeperError when it did not: then there is nothing to measure."""
        stopwatch = Stopwatch(self.session.rpc)
        config = self.session.config
        remove_journal(config.journal.path)
        journal = open_writer(config.journal.path)
        try:
            journal.record_event("start", "keeper", "A measurement begins.", self.block.timestamp)
            keeper = self._keeper(journal, stopwatch)
            await keeper.settle(await self.session.look(self.block))
            keep_collector_away()
            start, processor_start = time.perf_counter(), time.thread_time()
            report = await keeper.run_cycle(self.block)
        finally:
            journal.close()
        if not report.is_sent:
            raise KeeperError(f"The measured cycle sent nothing: {report.outcome or report.plan.verdicts}")
        return Acted(stopwatch.accepted_at - start, stopwatch.processor_at - processor_start, stopwatch.raw)

    def _keeper(self, journal: Any, node: Stopwatch) -> Keeper:
        config, guard = self.session.config, self.session.portfolio.topology.guard
        assert guard is not None
        metrics = Metrics(CollectorRegistry())
        dispatcher = Dispatcher(
            node, self._signer, journal, self._fees, FeePolicy(),
            chain_id=config.chain.chain_id, guard=guard, budget=config.fees.budget(config.chain.coin),
            still_succeeds=no_longer,
        )  # fmt: skip
        simulator = Simulator(self.session.rpc, guard, self._signer.address)
        alerts = Alerts(None, {}, metrics, config.alerts.dedupe, config.alerts.heartbeat)
        vitals = Vitals(time.monotonic, 60, 60)
        return Keeper(self.session, simulator, dispatcher, self._fees, journal, alerts, metrics, vitals)

    async def parts(self, raw: bytes, repetitions: int) -> Parts:
        """The steps one by one, on the block's own answer and on the transaction of an earlier cycle."""
        session, block = self.session, self.block
        answer = (await session.reader.read(session.portfolio, block)).answer
        snapshot = session.portfolio.decode(block, answer)
        history = History(gas_price_wei=block.base_fee_wei)
        plan = make_plan(snapshot, session.policy, history)
        transaction = decode_signed(raw)

        def assess() -> list[int]:
            return [each.margin.risk(horizon=session.policy.inclusion).health_factor for each in snapshot.subaccounts]

        def encode() -> bytes:
            for gas_by_rescue in (
                simulated_gas(plan.rescues, block.gas_limit),
                budgets(plan.rescues, [SIMULATED_RESCUE_GAS] * len(plan.rescues)),
            ):
                calldata = encode_rebalance(plan, snapshot, bytes(32), block.timestamp, gas_by_rescue)
                transaction_gas(calldata, plan, gas_by_rescue)
            return calldata

        sign: list[float] = []
        for _ in range(repetitions):
            start = time.thread_time()
            await self._signer.sign(transaction)
            sign.append(time.thread_time() - start)
        return Parts(
            # A copy each time, for what was cut up once is not cut up again.
            decode=_processor(lambda: session.portfolio.decode(block, bytes(bytearray(answer))), repetitions),
            assess=_processor(assess, repetitions),
            plan=_processor(lambda: make_plan(snapshot, session.policy, history), repetitions),
            encode=_processor(encode, repetitions),
            sign=statistics.median(sign),
        )


def _processor(work: Callable[[], Any], repetitions: int) -> float:
    """The median processor time of doing it once."""
    times: list[float] = []
    for _ in range(repetitions):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return statistics.median(times)


@asynccontextmanager
async def laboratory(config: Config, block: Block | None = None) -> AsyncGenerator[Laboratory]:
    """Connects, opens the keystore and asks for the fees, as the daemon does before its first cycle."""
    set_up_logging("error", Redaction())
    async with open_session(config) as session:
        guard = session.portfolio.topology.guard
        if guard is None or config.signer is None:
            raise ConfigError("A measured keeper needs [guard] and [signer].")
        scope = Scope(config.chain.chain_id, guard, config.fees.max_fee)
        signer = await open_keystore(config.signer.keystore, config.signer.password.reveal(), scope)
        fees = FeeOracle(session.rpc, config.fees.tip)
        head = block or await session.rpc.head()
        await fees.refresh(head)
        yield Laboratory(session, signer, fees, head)
