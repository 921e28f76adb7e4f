"""One simulation from its seed to its findings."""

import asyncio
import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, MutableMapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import structlog

from keeper.core.units import WAD
from keeper.journal import open_reader
from keeper.telling import CycleReport
from scripts.simulation.chain import GAS_LIMIT, Block, Chain, Pool, Sent
from scripts.simulation.contracts import Contracts
from scripts.simulation.endpoint import Endpoint
from scripts.simulation.judge import Judge, Violation
from scripts.simulation.ledger import NO_DEBT, Market, OracleMuteError, Round, State
from scripts.simulation.paths import DEVIATION_BPS, a_path
from scripts.simulation.process import Process
from scripts.simulation.timeline import GENESIS, run, virtual_time
from scripts.simulation.wallet import BLOCK_SECONDS, HEARTBEAT_SECONDS, a_wallet, write_files
from scripts.simulation.weather import Level, Weather, weather_of

LEVELS = tuple(Level)
FIRST_BLOCK = 20_000_000
FIRST_BASE_FEE_WEI = 20 * 10**9
FINALIZED_BLOCKS = 9
QUIET_SLOTS = 36
"""At the end, at most: a batch is given up after 25 blocks, and what is included is final some blocks later."""
SETTLING_BLOCKS = 18
"""What is in a block so deep is final, and was asked for once more since it is."""
BREATHING_SLOTS = 9
"""For whatever was only about to be sent, and to be told once more what is final, which is asked every eight blocks."""
OUR_ROOM_GAS = 3_000_000
SURGE_GAS = GAS_LIMIT // 2 * 112 // 100
"""Grows the base fee twentyfold in 200 blocks: by 1.5 % a block."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one seed."""

    seed: int
    level: Level
    violations: tuple[Violation, ...]
    blocks: int
    included: int
    """Our transactions in the chain."""
    rescues: int
    liquidations: int
    deaths: int
    digest: str
    """Of all that happened, so that a repetition can be seen to be one."""
    processor_seconds: float


class Diary:
    """All that happened, in order; printed as it happens when somebody wants to read along."""

    def __init__(self, tell: Callable[[str], None] | None) -> None:
        self._tell = tell
        self._digest = hashlib.sha256()

    def note(self, at: float, what: str) -> None:
        line = f"{at:9.3f}  {what}"
        self._digest.update(line.encode())
        if self._tell is not None:
            self._tell(line)

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()[:16]


class Trial:
    """One world, its keeper and its judge."""

    def __init__(self, seed: int, weather: Weather, folder: Path, diary: Diary) -> None:
        self._diary = diary
        self._weather = weather
        self._blocks = Random(f"blocks {seed}")
        self._wallet = a_wallet(Random(f"wallet {seed}"))
        state = self._wallet.state
        self._path = a_path(Random(f"price {seed}"), state.eth.answer, weather.slots, weather.crashes)
        first = Block(FIRST_BLOCK, f"0x{'ab' * 32}", None, GENESIS, FIRST_BASE_FEE_WEI, GAS_LIMIT // 2, state)
        self.chain = Chain(self._wallet.guard, first, self._feeds)
        self._pool = Pool()
        self._finalized = first
        self.judge = Judge(self.chain, weather.level, weather.daily_budget_wei)
        self._folder = folder / "life-0"
        self._seed = seed
        self._at: Callable[[], float] = lambda: 0.0
        self._is_good = False
        self.process: Process | None = None

    async def play(self) -> None:
        """From the first block to the end of the quiet that follows."""
        loop = asyncio.get_running_loop()
        self._at = loop.time
        urls = [f"http://node-{place}.example" for place in range(self._weather.endpoints)]
        self._endpoints = self._make_endpoints(urls)
        write_files(
            self._folder, self._wallet.guard.markets, urls, self._weather.quorum, self._weather.daily_budget_wei
        )
        self.process = process = Process(self._folder, dict(zip(urls, self._endpoints, strict=True)), self._cycle)
        keeping = asyncio.create_task(process.keep_running())
        slot = 0
        while slot < self._weather.slots or not self._is_quiet(slot):
            slot += 1
            await asyncio.wait((keeping,), timeout=slot * BLOCK_SECONDS - loop.time())
            if keeping.done():
                keeping.result()
            self._play_slot(slot, process)
        keeping.cancel()
        with closing(open_reader(process.folder / "keeper.sqlite")) as journal:
            self.judge.end(loop.time(), journal.intents_from_nonce(0))

    def _is_quiet(self, slot: int) -> bool:
        """Whether all that was on its way is over, or there was time enough for it to be."""
        calm = slot - self._weather.slots
        newest = max((block.number for block in self.chain.with_transactions()), default=0)
        is_over = not self._pool.waiting() and newest <= self.chain.head.number - SETTLING_BLOCKS
        was_stalled = self._weather.stalled.end > self._weather.slots - SETTLING_BLOCKS
        least = SETTLING_BLOCKS if was_stalled else BREATHING_SLOTS
        return calm >= QUIET_SLOTS or (calm >= least and is_over)

    # Each slot --------------------------------------------------------------------------------------------------------

    def _play_slot(self, slot: int, process: Process) -> None:
        weather = self._weather
        if slot in weather.kills:
            process.doom(weather.kills[slot])
        if slot in weather.drops:
            for sent in self._pool.waiting():
                self._diary.note(self._at(), f"nodes forget {sent.hash[:10]}")
                self._pool.drop(sent.nonce)
        if process.blind_since is not None:
            self.judge.blind(self._at(), process.blind_since)
        if slot in weather.missed:
            return
        depth = min(weather.reorgs.get(slot, 0), self.chain.head.number - self._finalized.number - 1)
        block = self._build(self._fork(depth) if depth > 0 else self.chain.head, slot)
        gone = self.chain.adopt(block)
        for each in gone:
            for included in each.included:
                self._pool.give_back(included.sent)
        self._pool.take_out_below(block.state.nonce)
        if slot not in weather.stalled or slot > weather.slots:
            self._finalized = self.chain.head.ancestor(max(FIRST_BLOCK, self.chain.head.number - FINALIZED_BLOCKS))
        self._tell(slot, block, gone)
        self.judge.block(self._at(), block, gone, is_good=slot not in weather.censored and self._was_good(process))

    def _fork(self, depth: int) -> Block:
        """The last of other blocks in place of so many, at the same times."""
        head = self.chain.head
        parent = head.ancestor(head.number - depth)
        for number in range(parent.number + 1, head.number + 1):
            slot = (head.ancestor(number).timestamp - GENESIS) // BLOCK_SECONDS
            parent = self._build(parent, slot, is_passed_over=True)
        return parent

    def _build(self, parent: Block, slot: int, *, is_passed_over: bool = False) -> Block:
        weather = self._weather
        is_censored = slot in weather.censored and slot < weather.slots
        others = round(GAS_LIMIT // 2 * self._blocks.uniform(0.7, 1.3))
        if slot in weather.full:
            others = GAS_LIMIT - OUR_ROOM_GAS
        elif slot in weather.surge:
            others = SURGE_GAS
        waiting = self._pool.waiting_at_first() if slot in weather.behind else self._pool.waiting()
        if is_passed_over or slot in weather.passed_over or is_censored:
            waiting = ()
        return self.chain.build(parent, GENESIS + slot * BLOCK_SECONDS, waiting, others)

    def _feeds(self, state: State) -> None:
        """The oracles answer for the price at the time of a state, if they answer."""
        slot = (state.now - GENESIS) // BLOCK_SECONDS
        state.is_oracle_mute = slot in self._weather.mute
        if state.is_oracle_mute or slot in self._weather.frozen:
            return
        price, eth = self._path.at(slot), state.eth
        if abs(price - eth.answer) * 10_000 >= eth.answer * DEVIATION_BPS or _is_due(eth, state.now):
            state.eth = Round(price, state.now, eth.number + 1)
        if _is_due(state.usdc, state.now):
            state.usdc = Round(state.usdc.answer, state.now, state.usdc.number + 1)

    def _was_good(self, process: Process) -> bool:
        """Whether all through the last slot the process ran and a quorum of endpoints was honest and in order."""
        since, until = self._at() - BLOCK_SECONDS, self._at()
        if not process.is_running or process.started_at > since:
            return False
        moments = [since, until] + [
            spell.since for spells in self._weather.spells for spell in spells if since < spell.since <= until
        ]
        return all(self._good_endpoints(moment) >= self._weather.quorum for moment in moments)

    def _good_endpoints(self, moment: float) -> int:
        return sum(
            not any(spell.since <= moment < spell.until for spell in endpoint.spells) for endpoint in self._endpoints
        )

    # What is told -----------------------------------------------------------------------------------------------------

    def _make_endpoints(self, urls: list[str]) -> list[Endpoint]:
        contracts = Contracts(self._wallet.guard)
        return [
            Endpoint(
                url.removeprefix("http://"),
                self.chain,
                self._pool,
                contracts,
                Random(f"{url} {self._seed}"),
                self._at,
                lambda: self._finalized,
                self._sent,
                spells,
            )
            for url, spells in zip(urls, self._weather.spells, strict=True)
        ]

    def _sent(self, sent: Sent, refusal: str | None) -> None:
        self._diary.note(self._at(), f"    sent {sent.hash[:10]} nonce {sent.nonce} {sent.fees} {refusal or ''}")
        self.judge.sent(self._at(), sent, refusal)

    def _cycle(self, report: CycleReport) -> None:
        at = self._at()
        verdicts = " ".join(type(decided).__name__ for decided in report.plan.verdicts.values())
        self._diary.note(at, f"    cycle {report.snapshot.block.number} {verdicts} {report.outcome}")
        is_honest = self._good_endpoints(at) >= self._weather.quorum
        self.judge.cycle(at, GENESIS + at, report, is_honest=is_honest)

    def hear(self, _logger: Any, level: str, event: MutableMapping[str, Any]) -> Any:
        """What the keeper logs; a processor of structlog that ends the line here."""
        at, alarm, says = self._at(), event.get("alarm"), str(event.get("event"))
        if alarm is not None:
            self._diary.note(at, f"        alarm {alarm}: {says}")
            self.judge.heard(at, str(alarm), says)
        elif level in ("warning", "error", "exception"):
            self._diary.note(at, f"        {says} {event.get('problem', '')}")
        raise structlog.DropEvent

    def _tell(self, slot: int, block: Block, gone: list[Block]) -> None:
        healths = " ".join(_health(block.state, market) for market in self._wallet.guard.markets)
        ours = " ".join(f"{each.sent.hash[:10]} {each.ran.succeeded}" for each in block.included)
        fork = f" in place of {len(gone)}" if gone else ""
        price, fee = block.state.eth.answer // 10**8, block.base_fee_wei // 10**9
        says = f"block {block.number}{fork}: {price} USD, {fee} gwei, {healths} {ours}"
        self._diary.note(self._at(), f"{says} LIQUIDATED" if slot and block.state.liquidated else says)


def simulate(
    seed: int,
    tell: Callable[[str], None] | None = None,
    level: Level | None = None,
    *,
    is_short: bool = False,
    turn: Callable[[Weather], Weather] = lambda weather: weather,
) -> Outcome:
    """Plays one seed; `tell` hears of everything that happens, line by line, and `turn` may change the day."""
    level = level or LEVELS[seed % len(LEVELS)]
    weather = turn(weather_of(level, Random(f"weather {seed}"), is_short=is_short))
    began, diary = time.process_time(), Diary(tell)
    folder = Path(tempfile.mkdtemp(prefix="keeper-simulation-", dir=_memory()))
    try:
        with virtual_time() as loop:
            trial = Trial(seed, weather, folder, diary)
            with _listening(trial):
                run(loop, trial.play())
    finally:
        shutil.rmtree(folder)
    chain = trial.chain
    ours = [each for block in chain.with_transactions() if chain.is_canonical(block) for each in block.included]
    return Outcome(
        seed,
        level,
        tuple(trial.judge.violations),
        chain.head.number - FIRST_BLOCK,
        len(ours),
        sum(len(each.ran.moves) for each in ours),
        len(chain.head.state.liquidated),
        trial.process.deaths if trial.process else 0,
        diary.digest,
        time.process_time() - began,
    )


@contextmanager
def _listening(trial: Trial) -> Generator[None]:
    before = structlog.get_config()
    structlog.configure(processors=[trial.hear], wrapper_class=structlog.make_filtering_bound_logger("info"))
    try:
        yield
    finally:
        structlog.configure(**before)


def _memory() -> Path | None:
    """Where files cost no disk; None for the usual place."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() else None


def _is_due(round: Round, now: int) -> bool:
    return now - round.updated_at >= HEARTBEAT_SECONDS


def _health(state: State, market: Market) -> str:
    try:
        health = state.health(market)
    except OracleMuteError:
        return "?"
    return "-" if health == NO_DEBT else f"{health / WAD:.4f}"
