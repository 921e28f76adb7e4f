"""One crash in one kind of weather: the real daemon, its endpoints, and what may not happen whatever happens.

The chain waits for the keeper up to a bound and no longer, so how fast the machine is does not decide the outcome.
"""

import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from scripts.localchain import daemon, devnet, keeper_files
from scripts.localchain.daemon import Daemon, DaemonError
from scripts.localchain.demo import CALM_BLOCKS, STRIKE_FEE_WEI, Run
from scripts.localchain.devnet import Devnet
from scripts.localchain.events import read_events
from scripts.localchain.liquidator import Liquidator
from scripts.localchain.measure import KeeperResult, WalletResult, measure_keeper, measure_wallet
from scripts.localchain.scenario import Tick, crash
from scripts.localchain.screen import Screen
from scripts.localchain.world import KEEPER, LIQUIDATOR, OWNER
from scripts.storms.endpoint import Endpoint, endpoints
from scripts.storms.weather import FROZEN_SECONDS, REORG_DEPTH_MAX, Forecast, Weather, weather

REQUEST_SECONDS = 0.5
"""How long the keeper waits for an endpoint: short, so that a hanging one costs little of a run."""
WAIT_SECONDS_MAX = 4.0
"""How long the chain stands still for a keeper that does not get through its cycle."""
WAIT_SECONDS_STEP = 0.02
HEARTBEAT_SECONDS = 2 * FROZEN_SECONDS
FRESH_BLOCKS = 4
"""So long a frozen price may count as fresh: its heartbeat and the patience beyond it."""
STARTS_MAX = 5
BLOCKS_DOWN = 2
"""So many blocks pass before a killed process is started again."""


@dataclass(slots=True)
class Storm:
    """What one seed did to a keeper, and what the keeper made of it."""

    forecast: Forecast
    seed: int
    blocks: int = 0
    faults: int = 0
    kills: int = 0
    blocks_gone: int = 0
    wallet: WalletResult | None = None
    keeper: KeeperResult | None = None
    broken: list[str] = field(default_factory=list[str])
    """Promises that were not kept, as sentences."""

    @property
    def longest_wait(self) -> int:
        """Blocks from the first below the trigger to the rescue."""
        rescues = self.keeper.rescues if self.keeper else ()
        return max((each.blocks_to_inclusion for each in rescues), default=0)


def storm(folder: Path, forecast: Forecast, seed: int, screen: Screen) -> Storm:
    """Runs it on a chain of its own. Raises AnvilError, NodeError, and DaemonError when the keeper ends."""
    result = Storm(forecast, seed)
    started = devnet.start(folder, is_clock_outside=True)
    try:
        with endpoints(started.url, forecast.endpoints, seed) as between:
            config = chaos_config(started, between, forecast.quorum)
            sailing = _Sailing(started, between, config, result, screen)
            try:
                sailing.run(seed)
            finally:
                sailing.keeper.kill()
    finally:
        devnet.stop(started)
    return result


def chaos_config(started: Devnet, between: Sequence[Endpoint], quorum: int) -> Path:
    """keeper.toml over these endpoints and nothing beside them."""
    urls = ", ".join(f'"{each.url}"' for each in between)
    lines: list[str] = []
    for line in started.config.read_text().splitlines():
        if line.startswith("rpc_url"):
            lines += [f"rpc_url = [{urls}]", f"quorum = {quorum}"]
            lines += [f'request_timeout = "{round(1_000 * REQUEST_SECONDS)}ms"']
        elif line.startswith("block_time"):
            lines.append('block_time = "250ms"')
        elif line.startswith("heartbeat"):
            lines.append(f'heartbeat = "{HEARTBEAT_SECONDS}s"')
        elif not line.startswith("ws_url"):
            lines.append(line)
    path = started.folder / "chaos.toml"
    keeper_files.write_private(path, "\n".join(lines) + "\n")
    return path


class _Sailing:
    def __init__(self, started: Devnet, between: list[Endpoint], config: Path, result: Storm, screen: Screen) -> None:
        self._devnet = started
        self._between = between
        self._killer = between[0].killer
        self._config = config
        self._result = result
        liquidator = Liquidator(started.node, LIQUIDATOR.address, started.deployment.morpho)
        started.node.set_automine(False)
        self._run = Run(started, liquidator, 0.0, screen)
        self._run.observations.append(started.chain.observe())
        self._blocks_until_start = 0
        self._frozen: set[int] = set()
        """The blocks in which prices were older than their feeds promise."""
        self._begin()

    def run(self, seed: int) -> None:
        calm: list[Tick | None] = [None] * CALM_BLOCKS
        ticks = [*calm, *crash(seed), *calm, *calm]
        forecast = self._result.forecast
        at = 0
        for now in weather(forecast, seed, len(ticks) + forecast.reorgs * REORG_DEPTH_MAX):
            if at == len(ticks):
                break
            self._block(ticks[at], now)
            # What the replaced blocks brought comes once more, prices and all.
            at = max(at + 1 - now.reorg_depth, 0)
        self._end()

    def _block(self, tick: Tick | None, now: Weather) -> None:
        for endpoint, mood in zip(self._between, now.moods, strict=True):
            endpoint.mood = mood
            endpoint.release()
        if now.killed_at is not None:
            self._killer.point = now.killed_at
        node = self._devnet.node
        if now.drops_pool:
            node.drop_pending()
        if now.foreign_nonce is not None:
            nonce = int(node.request("eth_getTransactionCount", KEEPER.address, "latest"), 16) + now.foreign_nonce
            node.send(KEEPER.address, KEEPER.address, b"", gas=21_000, fee_wei_max=STRIKE_FEE_WEI, nonce=nonce)
        if tick is not None:
            tick = replace(tick, base_fee_wei=tick.base_fee_wei * self._result.forecast.base_fee_times)
        self._run.tick(tick)
        self._wait()
        if now.reorg_depth:
            self._reorganise(now.reorg_depth)
        for _ in range(now.frozen_blocks):
            node.set_next_timestamp(node.timestamp() + FROZEN_SECONDS)
            self._run.tick(None)
            self._frozen.add(self._run.observations[-1].block)
            self._wait()

    def _wait(self) -> None:
        """Until the keeper went through this block, or was killed over it, or took too long."""
        block = self._run.observations[-1].block
        if self._blocks_until_start:
            self._blocks_until_start -= 1
            if self._blocks_until_start == 0:
                self._begin()
            return
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while time.monotonic() < deadline:
            if self._was_killed():
                self._blocks_until_start = BLOCKS_DOWN
                return
            if _block_seen(self.keeper) >= block:
                return
            try:
                self.keeper.check()
            except DaemonError:
                # It may have been killed since this was asked.
                if not self._killer.has_killed:
                    raise
            time.sleep(WAIT_SECONDS_STEP)

    def _begin(self) -> None:
        """As a supervisor would: one that is killed over its first steps, or finds no node, is started again."""
        for is_last in (*[False] * STARTS_MAX, True):
            self.keeper = daemon.start(self._config)
            self._killer.pid = self.keeper.pid
            try:
                self.keeper.wait_until_ready(meanwhile=lambda: time.sleep(WAIT_SECONDS_STEP))
            except DaemonError:
                if not self._was_killed() and is_last:
                    raise
            else:
                return

    def _was_killed(self) -> bool:
        if not self._killer.has_killed:
            return False
        self._killer.has_killed = False
        self.keeper.kill()
        self._result.kills += 1
        return True

    def _reorganise(self, depth: int) -> None:
        """As many blocks are replaced by empty ones; what was seen of them is looked at again."""
        node, run = self._devnet.node, self._run
        node.request("anvil_reorg", depth, [])
        head = run.observations[-1].block
        kept = head - depth
        run.observations[:] = [seen for seen in run.observations if seen.block <= kept]
        run.events[:] = [event for event in run.events if event.block <= kept]
        run.observations += [self._devnet.chain.observe(block) for block in range(kept + 1, head + 1)]
        run.events += read_events(node, self._devnet.deployment, kept + 1, head)
        self._result.blocks_gone += depth

    def _end(self) -> None:
        self._killer.point = None
        if self._was_killed() or self._blocks_until_start:
            self._begin()
        result, run = self._result, self._run
        result.blocks = len(run.observations) - 1
        result.faults = sum(each.faults_met for each in self._between)
        guard = self._devnet.deployment.guard
        result.wallet = measure_wallet(OWNER.address, guard, run.observations, run.events)
        result.keeper = measure_keeper(self._devnet.node, OWNER.address, run.observations, run.events)
        result.broken += _broken(result.wallet, result.keeper)
        stale = sorted(self._frozen)[FRESH_BLOCKS:]
        if any(each.rescue.block in stale and each.donors_with_debt for each in result.keeper.rescues):
            result.broken.append("collateral left an account with debt while prices were stale")
        try:
            code = self.keeper.stop()
        except DaemonError as problem:
            result.broken.append(str(problem))
        else:
            if code != 0:
                result.broken.append(f"the keeper ended with exit code {code} when told to stop")
        if "Traceback" in self.keeper.log.read_text(errors="replace"):
            result.broken.append("a traceback is in the keeper's log")


def _broken(wallet: WalletResult, keeper: KeeperResult) -> list[str]:
    missing = {symbol: raw for symbol, raw in wallet.collateral_missing_raw.items() if raw}
    below = [each.rescue.block for each in keeper.rescues if each.donors_below_last_stand]
    return [
        says
        for says, is_broken in (
            (f"{wallet.liquidations} accounts were liquidated", wallet.liquidations),
            (f"{wallet.block_ends_liquidatable} block ends could have been struck", wallet.block_ends_liquidatable),
            (f"collateral is missing: {missing}", missing),
            (f"donors below their last stand in blocks {below}", below),
        )
        if is_broken
    ]


def _block_seen(keeper: Daemon) -> int:
    """The newest block that a cycle went through; 0 while nobody says."""
    try:
        with urllib.request.urlopen(f"{keeper.health_url}/metrics", timeout=2) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith("keeper_head_block "):
                    return round(float(line.split()[1]))
    except (urllib.error.URLError, OSError):
        pass
    return 0
