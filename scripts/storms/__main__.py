"""`scripts/chaos`: a line for every seed and kind of weather; exit code 1 when a promise was broken."""

import io
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from scripts.localchain.abi import ArtefactMissingError
from scripts.localchain.anvil import AnvilError
from scripts.localchain.daemon import DaemonError
from scripts.localchain.node import NodeError
from scripts.localchain.screen import Screen
from scripts.storms.storm import Storm, storm
from scripts.storms.weather import FORECASTS

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def chaos(
    seeds: Annotated[int, typer.Option(help="How many crashes in each kind of weather.", min=1)] = 1,
    first: Annotated[int, typer.Option(help="The first seed.", min=0)] = 1,
) -> None:
    """Crashes on a real chain while its nodes misbehave, blocks go away and the process is killed."""
    is_good = True
    for seed in range(first, first + seeds):
        for forecast in FORECASTS:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    result = storm(Path(folder), forecast, seed, Screen(Console(file=io.StringIO())))
                except (AnvilError, ArtefactMissingError, DaemonError, NodeError) as problem:
                    print(f"chaos: seed {seed}, {forecast.name}: {problem}", file=sys.stderr)
                    is_good = False
                    continue
            print(describe(result), flush=True)
            is_good = is_good and not result.broken
    raise typer.Exit(0 if is_good else 1)


def describe(result: Storm) -> str:
    """What happened, on one line, and on further ones what should not have."""
    rescues = len(result.keeper.rescues) if result.keeper else 0
    weather = f"seed {result.seed}, {result.forecast.name}: {result.blocks} blocks, {result.blocks_gone} replaced"
    work = f"{rescues} rescues, the slowest within {result.longest_wait} block{'' if result.longest_wait == 1 else 's'}"
    line = f"{weather}, {result.faults} faults, {result.kills} kills; {work}"
    return "\n".join([line, *(f"  broken: {each}" for each in result.broken)])


if __name__ == "__main__":
    app(prog_name="scripts/chaos")
