"""`scripts/bench`: the measurements as tables, as JSON, or as the Markdown that the README shows."""

import asyncio
import json
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from keeper.errors import KeeperError
from scripts.benchmarks.cycle import CycleTimes, measure
from scripts.benchmarks.gas import measure_gas
from scripts.benchmarks.memory import measure_memory
from scripts.benchmarks.plan import measure_plans
from scripts.benchmarks.tables import Table, cycle_table, gas_table, memory_table, plan_table
from scripts.benchmarks.wallet import WideWallet, healths_of_many
from scripts.localchain import devnet
from scripts.localchain.abi import ArtefactMissingError
from scripts.localchain.anvil import AnvilError
from scripts.localchain.daemon import DaemonError
from scripts.localchain.devnet import Devnet
from scripts.localchain.node import NodeError

app = typer.Typer(
    help="What the keeper costs in time and gas, on a local chain of its own.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")]


@app.command()
def cycle(
    subaccounts: Annotated[
        list[int] | None,
        typer.Option("--subaccounts", help="How many; may be given again.  [default: 10 100 256]", min=2),
    ] = None,
    repetitions: Annotated[int, typer.Option(help="Of the keeper's cycle and of the floor, in turns.", min=1)] = 30,
    idiom_repetitions: Annotated[int, typer.Option(help="Of each cycle in plain web3.", min=1)] = 3,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """From a new head to an accepted transaction: the keeper, the least possible, and plain web3."""
    with _chain() as chain:
        measured = [_cycle(chain, count, repetitions, idiom_repetitions) for count in subaccounts or [10, 100, 256]]
    _print(cycle_table(measured), [asdict(each) for each in measured], as_json, as_markdown)


def _cycle(chain: Devnet, count: int, repetitions: int, idiom_repetitions: int) -> CycleTimes:
    snapshot = chain.node.snapshot()
    wallet = WideWallet(chain)
    wallet.open(healths_of_many(count))
    measured = asyncio.run(measure(wallet, repetitions, idiom_repetitions))
    chain.node.revert(snapshot)
    return measured


@app.command()
def gas(as_json: Json = False, as_markdown: Markdown = False) -> None:
    """Gas of rescues by their receipts, against the transactions that the owner would send."""
    with _chain() as chain:
        uses = asyncio.run(measure_gas(chain))
    rows = [asdict(use) | {"ratio": use.ratio, "is_over_budget": use.is_over_budget} for use in uses]
    _print(gas_table(uses), rows, as_json, as_markdown)


@app.command()
def plan(
    subaccounts: Annotated[
        list[int] | None,
        typer.Option("--subaccounts", help="How many; may be given again.  [default: 8 24 128]", min=2),
    ] = None,
    books: Annotated[int, typer.Option(help="Of the published set, for each size and kind.", min=1)] = 30,
    seconds: Annotated[float, typer.Option(help="The most for one proof.", min=1)] = 20,
    first_seed: Annotated[int, typer.Option(help="From 1000 on are books that the search was not tuned on.")] = 0,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Plans against the proven optimum and two greedy ways; exit code 1 when one is worse than it may be."""
    measured = [
        measure_plans(count, books, seconds, has_several_ways=has_several_ways, first_seed=first_seed)
        for count in subaccounts or [8, 24, 128]
        for has_several_ways in (False, True)
    ]
    _print(plan_table(measured), [asdict(each) for each in measured], as_json, as_markdown)
    if not all(each.is_good for each in measured):
        raise typer.Exit(1)


@app.command()
def memory(
    subaccounts: Annotated[int, typer.Option(help="How many.", min=2)] = 256,
    blocks: Annotated[int, typer.Option(help="How many to watch.", min=2)] = 200,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Resident memory of the daemon, and whether it grows."""
    with _chain() as chain:
        wallet = WideWallet(chain)
        wallet.open(healths_of_many(subaccounts))
        use = measure_memory(wallet, blocks)
    _print(memory_table(use), asdict(use), as_json, as_markdown)


@contextmanager
def _chain() -> Generator[Devnet]:
    try:
        with tempfile.TemporaryDirectory() as folder, devnet.running(Path(folder)) as chain:
            yield chain
    except (AnvilError, ArtefactMissingError, DaemonError, NodeError) as problem:
        print(f"bench: {problem}.", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeeperError as problem:
        print(f"bench: {problem}", file=sys.stderr)
        raise typer.Exit(1) from None


def _print(table: Table, document: object, as_json: bool, as_markdown: bool) -> None:
    if as_json:
        print(json.dumps(document))
    elif as_markdown:
        print(table.markdown())
    else:
        console.print(table.rich())


def main() -> None:
    app(prog_name="scripts/bench")


if __name__ == "__main__":
    main()
