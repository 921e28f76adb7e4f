"""`scripts/demo`: two identical wallets, one of them kept, and a crash.

The demo is the clock: it mines every block itself. Into each goes the price update first, the liquidator right behind
it, and then whatever else waits, the keeper's transaction among it.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from rich.console import Console

from scripts.localchain import daemon, devnet
from scripts.localchain.abi import ArtefactMissingError, encode_call
from scripts.localchain.anvil import ROOT, AnvilError
from scripts.localchain.daemon import Daemon, DaemonError
from scripts.localchain.devnet import Devnet, NotRunningError
from scripts.localchain.events import Event, read_events
from scripts.localchain.liquidator import Liquidator
from scripts.localchain.measure import keeper_json, measure_keeper, measure_wallet, wallet_json
from scripts.localchain.node import GWEI, NodeError
from scripts.localchain.observe import Observation
from scripts.localchain.scenario import Tick, crash
from scripts.localchain.screen import Screen, report
from scripts.localchain.world import DEPLOYER, LIQUIDATOR, OWNER, UNPROTECTED

# Anvil orders a block by the most that a transaction is willing to pay.
PRICE_FEE_WEI, STRIKE_FEE_WEI = 20_000 * GWEI, 10_000 * GWEI
PRICE_GAS = 150_000
KEPT_FOLDER = ROOT / ".devnet" / "demo"
CALM_BLOCKS = 3
"""Before the crash and after it; the last ones give a rescue under way its block."""


@dataclass(slots=True)
class Run:
    """One crash on one chain, block by block, with everything that was seen."""

    devnet: Devnet
    liquidator: Liquidator
    block_seconds: float
    screen: Screen
    observations: list[Observation] = field(default_factory=list[Observation])
    events: list[Event] = field(default_factory=list[Event])
    _next_at: float = field(default_factory=time.monotonic)

    def tick(self, tick: Tick | None) -> None:
        """Waits for the time of the next block, mines it and looks at it; None: prices stay."""
        now = time.monotonic()
        if self._next_at > now:
            time.sleep(self._next_at - now)
        self._next_at = max(self._next_at, now) + self.block_seconds
        node, deployment = self.devnet.node, self.devnet.deployment
        if tick is not None:
            node.set_next_base_fee(tick.base_fee_wei)
            for feed, answer in tick.answers.items():
                data = encode_call("setAnswer(int256)", answer)
                node.send(DEPLOYER.address, deployment.feeds[feed], data, gas=PRICE_GAS, fee_wei_max=PRICE_FEE_WEI)
        self.liquidator.strike(STRIKE_FEE_WEI)
        node.mine()
        seen = self.devnet.chain.observe()
        happened = read_events(node, deployment, seen.block, seen.block)
        self.observations.append(seen)
        self.events += happened
        self.screen.show(seen, happened)


def crash_run(started: Devnet, seed: int, block_seconds: float, screen: Screen, keeper: Daemon | None) -> Run:
    """Runs the whole scenario on a chain that nobody else mines; raises DaemonError when the keeper ends on the way."""
    run = Run(started, Liquidator(started.node, LIQUIDATOR.address, started.deployment.morpho), block_seconds, screen)
    run.observations.append(started.chain.observe())
    if keeper is not None:
        keeper.wait_until_ready(meanwhile=lambda: run.tick(None))
    calm: list[Tick | None] = [None] * CALM_BLOCKS
    for tick in [*calm, *crash(seed), *calm]:
        if keeper is not None:
            keeper.check()
        run.tick(tick)
    return run


def demo(options: argparse.Namespace, console: Console, folder: Path) -> None:
    """The whole demo; raises what can go wrong, and leaves nothing running unless `--keep`."""
    started = devnet.start(folder, block_seconds=options.block_time, is_clock_outside=True)
    keeper = None
    try:
        keeper = daemon.start(started.config)
        with Screen(console) as screen:
            run = crash_run(started, options.seed, options.block_time, screen, keeper)
        if not options.keep:
            code = keeper.stop()
            if code != 0:
                raise DaemonError(
                    f"the keeper ended with exit code {code}; its last words:\n{daemon.last_lines(keeper.log)}"
                )
        protected = measure_wallet(OWNER.address, started.deployment.guard, run.observations, run.events)
        unprotected = measure_wallet(UNPROTECTED.address, None, run.observations, run.events)
        work = measure_keeper(started.node, OWNER.address, run.observations, run.events)
        report(console, protected, unprotected, work)
        if options.keep:
            started.node.set_interval_mining(max(1, round(options.block_time)))
            say_what_to_look_at(console, folder, keeper.pid)
        if options.json:
            result = {
                "seed": options.seed,
                "blocks": len(run.observations) - 1,
                "protected": wallet_json(protected),
                "unprotected": wallet_json(unprotected),
                "keeper": keeper_json(work, protected),
            }
            print(json.dumps(result), flush=True)
    except BaseException:
        if keeper is not None:
            keeper.kill()
        devnet.stop(started)
        raise
    if options.keep:
        keeper.detach()
        started.process.detach()
        started.node.close()
    else:
        devnet.stop(started)


def say_what_to_look_at(console: Console, folder: Path, keeper_pid: int) -> None:
    """The commands that make sense while chain and keeper go on."""
    config, place = f"--config {folder / 'keeper.toml'}", f"--state-dir {folder}"
    commands = (
        f".venv/bin/keeper status {config}",
        f".venv/bin/keeper journal {config}",
        f".venv/bin/keeper plan --shock WETH=-12% {config}",
        f"scripts/devnet price WETH -12% {place}",
        f"scripts/devnet status {place}",
        f"tail -f {folder / 'keeper.log'}",
        f"kill {keeper_pid}; scripts/devnet down {place}",
    )
    console.print("\nChain and keeper go on. To look around, and to end them with the last one:", soft_wrap=True)
    for command in commands:
        console.print(f"  {command}", soft_wrap=True)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/demo", description="Two identical wallets, one of them kept, and a crash."
    )
    parser.add_argument("--seed", type=int, default=1, help="which crash (1)")
    parser.add_argument(
        "--portfolio", action="store_true", help="a wallet over Morpho, Aave and idle tokens, helped across protocols"
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on the last line")
    parser.add_argument("--keep", action="store_true", help="leave chain and keeper running and say how to look around")
    parser.add_argument("--block-time", type=_block_time, default=1.0, metavar="SECONDS", help="between two blocks (1)")
    parser.add_argument("--state-dir", type=Path, help="folder for the keeper's files and logs (a temporary one)")
    return parser.parse_args(arguments)


def _block_time(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 60:
        raise argparse.ArgumentTypeError("from 0.1 to 60 seconds")
    return seconds


def main() -> int:
    options = parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    folder = options.state_dir or (
        KEPT_FOLDER if options.keep else Path(tempfile.mkdtemp(prefix="margin-keeper-demo-"))
    )
    try:
        _refuse_if_in_use(folder)
        if options.portfolio:
            # It uses what stands above, and is needed for this alone.
            from scripts.portfolio import run

            run.demo(
                options.seed,
                options.block_time,
                is_kept=options.keep,
                is_json=options.json,
                console=console,
                folder=folder,
            )
        else:
            demo(options, console, folder)
    except (AnvilError, ArtefactMissingError, DaemonError, NodeError) as problem:
        print(f"demo: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted; nothing was left running.", file=sys.stderr)
        return 130
    finally:
        if options.state_dir is None and not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _refuse_if_in_use(folder: Path) -> None:
    try:
        record = devnet.find(folder)
    except NotRunningError:
        return
    raise AnvilError(
        f"a chain still runs in {folder} at {record.url}; end it with scripts/devnet down --state-dir {folder}"
    )


if __name__ == "__main__":
    sys.exit(main())
