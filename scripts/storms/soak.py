"""`scripts/soak`: minutes on end with faults and kills; what each process holds at its beginning and at its end."""

import random
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from scripts.localchain import daemon, devnet
from scripts.localchain.abi import ArtefactMissingError
from scripts.localchain.anvil import AnvilError
from scripts.localchain.daemon import Daemon, DaemonError
from scripts.localchain.deploy import MARKET_PARAMS
from scripts.localchain.devnet import Devnet
from scripts.localchain.events import Rescue, read_events
from scripts.localchain.node import NodeError
from scripts.localchain.world import OWNER, WAD
from scripts.storms.endpoint import FLAKY, endpoints
from scripts.storms.storm import chaos_config

BLOCK_SECONDS = 0.5
LIFE_SECONDS = 60.0
ENDPOINTS, QUORUM = 3, 2
ETH_USD = 2_500
LEVERED, LEVERED_HEALTH_PERCENT = "WETH/USDC 86%", 117
SWING_PERCENT = 7
"""How far the price goes from where it began: to and fro across the trigger, so that there is something to do."""
METRICS = {
    "process_resident_memory_bytes": "memory",
    "process_open_fds": "files",
    "keeper_tasks": "tasks",
    "keeper_loop_lag_seconds": "lag",
}


@dataclass(frozen=True, slots=True)
class Sample:
    memory: float = 0
    files: float = 0
    tasks: float = 0
    lag: float = 0


@dataclass(frozen=True, slots=True)
class Life:
    """From the start of a process to its kill."""

    first: Sample
    last: Sample
    lag_seconds_max: float
    blocks: int
    rescues: int
    faults: int


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def soak(
    minutes: Annotated[int, typer.Option(help="How long; the process is killed every minute.", min=1)] = 10,
    seed: Annotated[int, typer.Option(help="Of faults and prices.", min=0)] = 1,
) -> None:
    """The daemon for minutes on end, with faults in one request of twenty and a kill every minute."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    lives: list[Life] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            for life in lives_of(Path(folder), minutes, seed):
                lives.append(life)
                print(f"minute {len(lives)}: {life.blocks} blocks, {life.faults} faults", file=sys.stderr, flush=True)
    except (AnvilError, ArtefactMissingError, DaemonError, NodeError) as problem:
        print(f"soak: {problem}", file=sys.stderr)
        raise typer.Exit(1) from None
    console.print(table(lives))


def lives_of(folder: Path, minutes: int, seed: int) -> Iterator[Life]:
    """One process after another, over the same journal. Raises DaemonError when one ends by itself."""
    started = devnet.start(folder, is_clock_outside=True)
    try:
        with endpoints(started.url, ENDPOINTS, seed) as between:
            for endpoint in between:
                endpoint.mood = FLAKY
            config = chaos_config(started, between, QUORUM)
            prices = _prices(seed)
            for _ in range(minutes):
                faults = sum(each.faults_met for each in between)
                _lever(started)
                keeper = daemon.start(config)
                try:
                    life = _lived(started, keeper, prices)
                finally:
                    keeper.kill()
                yield replace(life, faults=sum(each.faults_met for each in between) - faults)
    finally:
        devnet.stop(started)


def _lived(started: Devnet, keeper: Daemon, prices: Iterator[int]) -> Life:
    while _get(f"{keeper.health_url}/readyz") is None:
        keeper.check()
        _block(started, next(prices))
    began, first_block = time.monotonic(), started.node.block_number()
    first = last = _sample(keeper)
    lag = 0.0
    while time.monotonic() - began < LIFE_SECONDS:
        _block(started, next(prices))
        keeper.check()
        last = _sample(keeper)
        lag = max(lag, last.lag)
    last_block = started.node.block_number()
    events = read_events(started.node, started.deployment, first_block, last_block)
    rescues = sum(isinstance(event, Rescue) for event in events)
    return Life(first, last, lag, last_block - first_block, rescues, 0)


def _block(started: Devnet, eth_usd_cents: int) -> None:
    started.chain.set_price("WETH", f"{eth_usd_cents / 100:.2f}")
    time.sleep(BLOCK_SECONDS)


def _lever(started: Devnet) -> None:
    """The owner takes out of an account what brings it near its trigger, into the wallet: the keeper has work again."""
    seen = started.chain.observe()
    position = seen.positions[OWNER.address][LEVERED]
    surplus = position.collateral_raw - position.collateral_raw * LEVERED_HEALTH_PERCENT * WAD // (
        100 * position.health
    )
    if surplus > 0:
        market = started.deployment.markets[LEVERED]
        signature = f"withdrawCollateral({MARKET_PARAMS},uint256,address,address)"
        started.chain.send(
            OWNER, started.deployment.morpho, signature, market.params, surplus, OWNER.address, OWNER.address
        )


def _prices(seed: int) -> Iterator[int]:
    """Cents, to and fro within the swing."""
    chance = random.Random(seed)
    swing = SWING_PERCENT * ETH_USD
    off = 0
    while True:
        off = min(max(off + chance.randint(-swing // 6, swing // 6), -swing), swing)
        yield 100 * ETH_USD + off


def _sample(keeper: Daemon) -> Sample:
    """What the process says of itself; zeros where its system tells nothing, and while it does not answer."""
    text = _get(f"{keeper.health_url}/metrics") or ""
    found = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return Sample(**{METRICS[name]: float(value) for name, value in found if name in METRICS})


def _get(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.read().decode()
    except (urllib.error.URLError, OSError):
        return None


def table(lives: Sequence[Life]) -> Table:
    """A row for each life; memory at its first block and at its last."""
    shown = Table(box=None, pad_edge=False)
    for header in ("life", "blocks", "rescues", "faults", "memory", "files", "tasks", "loop late"):
        shown.add_column(header, justify="right")
    for number, life in enumerate(lives, 1):
        first, last = life.first, life.last
        shown.add_row(
            str(number),
            str(life.blocks),
            str(life.rescues),
            str(life.faults),
            f"{first.memory / 1e6:.1f} → {last.memory / 1e6:.1f} MB",
            f"{first.files:.0f} → {last.files:.0f}",
            f"{first.tasks:.0f} → {last.tasks:.0f}",
            f"{life.lag_seconds_max * 1_000:.0f} ms",
        )
    return shown


if __name__ == "__main__":
    app(prog_name="scripts/soak")
