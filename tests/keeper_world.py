"""A keeper with everything its own but the node: what the chain holds, and what fails, is what the test says."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from eth_abi.abi import encode
from eth_account import Account
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from keeper.alerts import Alerts
from keeper.chain.answers import SimulatedCall, SimulatedResult
from keeper.chain.dispatcher import Dispatcher
from keeper.chain.fees import FeeOracle
from keeper.chain.reader import Reading
from keeper.chain.signer import KeystoreSigner, Scope
from keeper.chain.simulate import Simulator
from keeper.core.fees import Budget, FeePolicy
from keeper.core.intent import Intent
from keeper.core.policy import PriceLimits
from keeper.core.snapshot import Block, SecondPrice, Snapshot, Subaccount
from keeper.core.units import Address
from keeper.daemon import Keeper
from keeper.errors import ChainError, KeeperError
from keeper.journal import open_writer
from keeper.opening import Ground, Running
from keeper.pausing import Mode, PauseFile
from keeper.session import Session
from keeper.telemetry import Metrics, Vitals
from keeper.telling import CycleReport
from tests.builders import GUARD, KEEPER, a_policy, a_snapshot
from tests.fakes import FakeClock, FakeFees, FakePool, a_block

GWEI = 10**9
HOT_KEY = Account.from_key("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
VIEW_SECONDS_MAX = 60
RESCUES_AT = 100
"""Where in the calldata of `rebalance` the number of rescues stands: selector, id, deadline and an offset before it."""


class Node(FakePool):
    """The pool, and simulations in which every rescue succeeds."""

    def __init__(self) -> None:
        super().__init__()
        self.simulation_fault: ChainError | None = None
        self.rescue_gas = 170_000
        self.count_fault: ChainError | None = None
        self.on_simulation: Callable[[], None] = lambda: None

    async def transaction_count(self, account: Address) -> int:
        if self.count_fault is not None:
            raise self.count_fault
        return await super().transaction_count(account)

    async def simulate_v1(
        self,
        calls: Sequence[SimulatedCall],
        block_hash: str,  # noqa: ARG002
        timestamp: int,  # noqa: ARG002
    ) -> tuple[SimulatedResult, ...]:
        if self.simulation_fault is not None:
            raise self.simulation_fault
        self.on_simulation()
        count = int.from_bytes(calls[0].data[RESCUES_AT : RESCUES_AT + 32])
        results = [(True, 10**18, 2 * 10**18, self.rescue_gas, b"")] * count
        return (SimulatedResult(True, encode(["(bool,uint128,uint128,uint64,bytes)[]"], [results]), 200_000, ""),)


class World:
    """Cycles on these subaccounts, one block after the other; `restart` is a new process on the same journal."""

    def __init__(self, folder: Path, *subaccounts: Subaccount) -> None:
        self.path = folder / "keeper.sqlite"
        self.subaccounts = subaccounts
        self.node = Node()
        self.clock = FakeClock()
        self.read_fault: ChainError | None = None
        self.quorum_problem: str | None = None
        self.daily_budget_wei = 10**18
        self.price_limits = PriceLimits()
        self.second_prices: tuple[SecondPrice, ...] = ()
        self.still_succeeds = True
        """What is found of what was signed earlier when it is tried out."""
        self.told: list[tuple[str, str, str]] = []
        """Alarm, subject and sentence of all that was said, repeated ones left out."""
        self._open()

    def _open(self) -> None:
        self._stopping = asyncio.Event()
        self.journal = open_writer(self.path)
        self.metrics = Metrics(CollectorRegistry())
        self.alerts = Alerts(None, {}, self.metrics, 900, 3_600, self.clock.now, self.clock.monotonic)
        self.vitals = Vitals(self.clock.monotonic, 2 * VIEW_SECONDS_MAX, VIEW_SECONDS_MAX)
        fees = FeeOracle(FakeFees(), GWEI)
        self.dispatcher = Dispatcher(
            self.node,
            KeystoreSigner(HOT_KEY, Scope(31_337, GUARD, 3_000 * GWEI)),
            self.journal,
            fees,
            FeePolicy(max_fee_wei=3_000 * GWEI),
            chain_id=31_337,
            guard=GUARD,
            budget=Budget(self.daily_budget_wei),
            still_succeeds=self._still_succeeds,
        )
        self.session = self._session()
        simulator = Simulator(cast(Any, self.node), GUARD, KEEPER)
        self.keeper = Keeper(
            self.session, simulator, self.dispatcher, fees, self.journal, self.alerts, self.metrics, self.vitals
        )

    async def _still_succeeds(self, _calldata: bytes, _gas: int, _block: Block) -> bool:
        return self.still_succeeds

    def _session(self) -> Session:
        async def read(_calldata: bytes, _head: Block) -> Reading:
            if self.read_fault is not None:
                raise self.read_fault
            return Reading(b"answer", self.quorum_problem)

        def decode(block: Block, _answer: bytes) -> Snapshot:
            return self.snapshot(block)

        async def head() -> Block:
            return a_block(100)

        config = SimpleNamespace(
            chain=SimpleNamespace(block_time=12_000, head_age_max=60, coin="ETH"),
            fees=SimpleNamespace(max_fee=3_000 * GWEI, tip=GWEI, fee_share_of_value=2_000),
            journal=SimpleNamespace(path=self.path),
        )
        portfolio = SimpleNamespace(
            calldata=b"",
            decode=decode,
            to_json=lambda: "{}",
            topology=SimpleNamespace(keeper=KEEPER, guard=GUARD),
        )
        reader, rpc = SimpleNamespace(read=read), SimpleNamespace(label="node.example", head=head)
        policy = replace(a_policy(*self.subaccounts), prices=self.price_limits)
        parts: Any = (config, rpc, reader, portfolio, policy)
        return Session(*parts)

    def snapshot(self, block: Block) -> Snapshot:
        built = a_snapshot(*self.subaccounts, base_fee_wei=block.base_fee_wei, timestamp=block.timestamp)
        return replace(built, block=block, keeper_balance_wei=10**18, second_prices=self.second_prices)

    @property
    def ground(self) -> Ground:
        parts: Any = (
            self.session.config,
            GUARD,
            self.journal,
            self.alerts,
            self.metrics,
            self.vitals,
            None,
            self._stopping,
        )
        return Ground(*parts)

    @property
    def running(self) -> Running:
        async def refresh(_block: Block) -> None:
            return None

        parts: Any = (
            self.session.config,
            self.journal,
            self.keeper,
            SimpleNamespace(refresh=refresh),
            self.alerts,
            self.metrics,
            self.vitals,
            asyncio.Lock(),
            self._stopping,
        )
        return Running(*parts)

    async def start(self, number: int = 100) -> None:
        with self.listening():
            await self.keeper.settle(self.snapshot(a_block(number)))

    async def restart(self, number: int) -> None:
        self.journal.close()
        self._open()
        await self.start(number)

    async def cycle(
        self, number: int, *, fork: str = "", blocks_may_be_gone: bool = False, base_fee_gwei: int = 1
    ) -> CycleReport:
        block = a_block(number, fork=fork, base_fee_wei=base_fee_gwei * GWEI)
        with self.listening():
            return await self.keeper.run_cycle(block, blocks_may_be_gone=blocks_may_be_gone)

    async def failed_cycle(self, number: int) -> str:
        """What a cycle that raises says."""
        try:
            await self.cycle(number)
        except KeeperError as fault:
            return str(fault)
        raise AssertionError(f"the cycle at {number} did not fail")

    def switch(self, mode: Mode) -> None:
        PauseFile(self.path).write(mode)

    def names(self) -> list[str]:
        """The alarms since it was asked last."""
        told, self.told = self.told, []
        return [alarm for alarm, _, _ in told]

    def about(self, name: str) -> list[tuple[str, str]]:
        """Subject and sentence of one alarm, since anything was asked last."""
        told, self.told = self.told, []
        return [(subject, says) for alarm, subject, says in told if alarm == name]

    def intent(self) -> Intent:
        """The one on its way."""
        found = self.dispatcher.in_flight
        if found is None:
            raise AssertionError("nothing is on its way")
        return found

    def listening(self) -> "_Listening":
        """Alarms that are raised in it count as told."""
        return _Listening(self.told)


class _Listening:
    """Alarms are logged with their name; the log is where a test hears them."""

    def __init__(self, told: list[tuple[str, str, str]]) -> None:
        self._told = told
        self._logs = capture_logs()

    def __enter__(self) -> None:
        self._entries = self._logs.__enter__()

    def __exit__(self, *fault: Any) -> None:
        self._logs.__exit__(*fault)
        self._told += [
            (entry["alarm"], entry["subject"], entry["event"]) for entry in self._entries if "alarm" in entry
        ]
