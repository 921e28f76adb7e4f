"""A keeper put together from its configuration: what it holds open, and what must be true before it starts."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog
from eth_utils.crypto import keccak
from prometheus_client import CollectorRegistry, ProcessCollector

from keeper.alerts import Alerts
from keeper.chain.connect import connect_relay
from keeper.chain.data_fee import Rollup, find_rollup, read_data_fee
from keeper.chain.dispatcher import Dispatcher
from keeper.chain.fees import FeeOracle
from keeper.chain.rpc import Rpc
from keeper.chain.signer import KeystoreSigner, Scope, open_keystore
from keeper.chain.simulate import Simulator
from keeper.config import Config
from keeper.core.data_fee import DataFee
from keeper.core.fees import FeePolicy
from keeper.core.snapshot import Block, Snapshot
from keeper.core.units import Address
from keeper.daemon import Keeper
from keeper.endpoints import EndpointWatch
from keeper.errors import ConfigError, KeeperError
from keeper.journal import Journal, Retention, open_writer
from keeper.protocols.guard_setup import guard_address, guard_code_hash, library_address, library_code_hash
from keeper.session import Session, open_session
from keeper.telemetry import Metrics, Vitals
from keeper.telling import CycleReport

log = structlog.stdlib.get_logger(__name__)

NO_KEEPER = Address("0x" + 40 * "0")


@dataclass(frozen=True, slots=True)
class Ground:
    """What a keeper has before any node answers."""

    config: Config
    guard: Address
    journal: Journal
    alerts: Alerts
    metrics: Metrics
    vitals: Vitals
    signer: KeystoreSigner | None
    """None in a dry run."""
    stopping: asyncio.Event
    """Set once the process was told to stop: nothing begins any more."""


class Stopping(KeeperError):
    """The daemon was told to stop, so what was asked for is not done."""


@dataclass(frozen=True, slots=True)
class Running:
    """A keeper with all that it holds open."""

    config: Config
    journal: Journal
    keeper: Keeper
    fees: FeeOracle
    alerts: Alerts
    metrics: Metrics
    vitals: Vitals
    cycles: asyncio.Lock
    """Held while a cycle runs: one at a time, whoever asks for it."""
    stopping: asyncio.Event
    """Set once the process was told to stop: nothing begins any more."""

    @property
    def session(self) -> Session:
        """The one that cycles look through: another one once something was found out anew."""
        return self.keeper.session

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        """The lock, for whoever wants to send. Raises Stopping."""
        async with self.cycles:
            if self.stopping.is_set():
                raise Stopping("The keeper was told to stop; nothing is sent until it runs again.")
            yield

    async def cycle(self, head: Block, *, blocks_may_be_gone: bool = False) -> CycleReport:
        """One cycle, measured. Raises what `Keeper.run_cycle` raises."""
        async with self.turn():
            with self.metrics.cycle_seconds.time():
                report = await self.keeper.run_cycle(head, blocks_may_be_gone=blocks_may_be_gone)
        self.metrics.cycles.labels("done").inc()
        if report.outcome:
            log.info("cycle", block=head.number, rescues=len(report.plan.rescues), outcome=report.outcome)
        return report


@asynccontextmanager
async def open_keeper(config: Config, *, is_dry_run: bool) -> AsyncGenerator[Running]:
    """All of it at once. Raises what `open_ground` and `open_on_chain` raise."""
    async with open_ground(config, is_dry_run=is_dry_run) as ground, open_on_chain(ground) as running:
        yield running


@asynccontextmanager
async def open_ground(config: Config, *, is_dry_run: bool) -> AsyncGenerator[Ground]:
    """The journal first: a second daemon stops here, before it has asked for anything.

    Raises JournalError, and ConfigError for a keystore that cannot be opened.
    """
    registry = CollectorRegistry()
    # Memory, open files and processor time of this process, where the system tells them.
    ProcessCollector(registry=registry)
    metrics = Metrics(registry)
    async with AsyncExitStack() as stack:
        journal = open_writer(
            config.journal.path,
            Retention(config.journal.keep_cycles, config.journal.keep_prices, config.journal.keep_decisions),
        )
        stack.callback(journal.close)

        head_age_max = config.chain.head_age_max
        vitals = Vitals(time.monotonic, 2 * head_age_max + config.chain.request_timeout / 1000, head_age_max)
        guard = config.guard.address or guard_address(config.guard.owner)
        signer = None if is_dry_run or config.signer is None else await _signer(config, guard)
        yield Ground(config, guard, journal, _alerts(config, metrics), metrics, vitals, signer, asyncio.Event())


@asynccontextmanager
async def open_on_chain(ground: Ground) -> AsyncGenerator[Running]:
    """What takes a node: may be tried again on the same ground. Raises ConfigError, ChainError or ProtocolError."""
    config, journal, guard, metrics, alerts = ground.config, ground.journal, ground.guard, ground.metrics, ground.alerts
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session(config, EndpointWatch(metrics, alerts)))
        snapshot = await session.look()
        topology = session.portfolio.topology
        await _require_own_guard(session, snapshot, guard)
        keeper_address = topology.keeper or (snapshot.guard.keeper if snapshot.guard else NO_KEEPER)
        simulator = Simulator(session.rpc, guard, keeper_address)
        rollup = await find_rollup(session.rpc, snapshot.block.hash)

        async def data_fee(block: Block) -> DataFee:
            return await read_data_fee(session.rpc, rollup, block.hash)

        fees = FeeOracle(session.rpc, config.fees.tip, None if rollup is Rollup.NONE else data_fee)
        await fees.refresh(snapshot.block)
        dispatcher = None
        if ground.signer is not None:
            relay = await stack.enter_async_context(connect_relay(config))
            dispatcher = _dispatcher(session, ground.signer, journal, fees, guard, simulator, relay)
        keeper = Keeper(session, simulator, dispatcher, fees, journal, alerts, metrics, ground.vitals)
        await keeper.settle(snapshot)
        yield Running(config, journal, keeper, fees, alerts, metrics, ground.vitals, asyncio.Lock(), ground.stopping)


async def _require_own_guard(session: Session, snapshot: Snapshot, guard: Address) -> None:
    """Raises ConfigError for any other contract in the guard's place, or its library's: nobody knows what it does.

    A guard that is not there yet is no reason not to start: it is an alarm until `keeper setup` deployed it.
    """
    owner, block_hash = session.config.guard.owner, snapshot.block.hash
    code = await session.rpc.code(guard, block_hash)
    if not code:
        return
    if keccak(code) == guard_code_hash(owner):
        library = library_address()
        if keccak(await session.rpc.code(library, block_hash)) == library_code_hash():
            return
        problem = f"the code at {library} is not the library that the guard is linked with"
    else:
        problem = snapshot.guard_problem or f"the code at {guard} is not the guard that this keeper was built with"
    raise ConfigError(f"{problem[0].upper()}{problem[1:]}; `keeper check` says more.")


def _alerts(config: Config, metrics: Metrics) -> Alerts:
    webhook = None if config.alerts.webhook is None else config.alerts.webhook.reveal()
    origin = {"chain_id": config.chain.chain_id, "owner": config.guard.owner}
    timing = (config.alerts.dedupe, config.alerts.heartbeat, time.time, time.monotonic)
    return Alerts(webhook, origin, metrics, *timing)


async def _signer(config: Config, guard: Address) -> KeystoreSigner:
    """Raises ConfigError when there is none, or its keystore cannot be opened."""
    if config.signer is None:
        raise ConfigError("No [signer] is configured, so nothing can be signed.")
    scope = Scope(config.chain.chain_id, guard, config.fees.max_fee)
    return await open_keystore(config.signer.keystore, config.signer.password.reveal(), scope)


def _dispatcher(
    session: Session,
    signer: KeystoreSigner,
    journal: Journal,
    fees: FeeOracle,
    guard: Address,
    simulator: Simulator,
    relay: Rpc | None,
) -> Dispatcher:
    config = session.config
    block_seconds = max(1, config.chain.block_time // 1000)
    private = 0 if relay is None else block_seconds

    async def still_succeeds(calldata: bytes, gas: int, block: Block) -> bool:
        return await simulator.still_succeeds(calldata, gas, block, block.timestamp + block_seconds)

    return Dispatcher(
        session.rpc,
        signer,
        journal,
        fees,
        FeePolicy(
            inclusion_blocks=config.chain.inclusion_blocks,
            replace_after_seconds=config.fees.bump_after,
            resend_after_seconds=max(1, config.fees.bump_after // 2),
            final_after_blocks=config.chain.finality_blocks,
            max_fee_wei=config.fees.max_fee,
            private_routine_seconds=private * config.fees.private_blocks,
            private_critical_seconds=private * config.fees.private_blocks_critical,
        ),
        chain_id=config.chain.chain_id,
        guard=guard,
        budget=config.fees.budget(config.chain.coin),
        still_succeeds=still_succeeds,
        relay=relay,
    )
