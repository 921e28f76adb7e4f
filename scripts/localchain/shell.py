"""`scripts/devnet`: a local chain from the shell. Every failure is one sentence and exit code 1."""

import signal
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from scripts.localchain import anvil, devnet, world
from scripts.localchain.abi import ArtefactMissingError
from scripts.localchain.anvil import ROOT, AnvilError
from scripts.localchain.chain import Chain, WishError, parse_duration
from scripts.localchain.devnet import NotRunningError
from scripts.localchain.node import NodeError
from scripts.localchain.observe import NO_DEBT, Position
from scripts.localchain.world import KEEPER, OWNER, UNPROTECTED, WAD

DEFAULT_FOLDER = ROOT / ".devnet"

app = typer.Typer(
    help="A local chain with the real Morpho Blue, test tokens, settable prices and two wallets with open positions.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)

Folder = Annotated[Path, typer.Option("--state-dir", help="Folder of this chain; each folder can run one.")]


@contextmanager
def _one_sentence() -> Generator[None]:
    try:
        yield
    except (AnvilError, ArtefactMissingError, NodeError, NotRunningError, WishError) as problem:
        print(f"devnet: {problem}.", file=sys.stderr)
        raise typer.Exit(1) from None


def _attached(folder: Path) -> Chain:
    return devnet.find(folder).attach()


@app.command()
def up(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 is any free one.", min=0, max=65535)] = 8545,
    block_time: Annotated[int, typer.Option(help="Seconds between blocks; 0: one per transaction.", min=0)] = 2,
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running in the background.")] = False,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Start the chain; what happens without a command."""
    with _one_sentence():
        try:
            record = devnet.find(folder)
        except NotRunningError:
            pass
        else:
            raise AnvilError(
                f"a local chain already runs in {folder} at {record.url}; stop it with scripts/devnet down"
            )
        signal.signal(signal.SIGTERM, _leave)
        if detach:
            started = devnet.start(folder, port=port, block_seconds=block_time)
            started.process.detach()
            _say_where(started)
            return
        with devnet.running(folder, port=port, block_seconds=block_time) as started:
            _say_where(started)
            console.print("Ctrl-C stops it.")
            try:
                started.process.wait()
            except KeyboardInterrupt:
                return
            raise AnvilError(f"anvil ended by itself; its output is in {folder / 'anvil.log'}")


def _leave(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM ends it as Ctrl-C does, so that anvil is stopped."""
    sys.exit(0)


def _say_where(started: devnet.Devnet) -> None:
    console.print(f"chain 31337 at {started.url}, keeper.toml in {started.config}", soft_wrap=True)


@app.command()
def down(folder: Folder = DEFAULT_FOLDER) -> None:
    """Stop the chain."""
    with _one_sentence():
        record = devnet.find(folder)
        anvil.stop_pid(record.pid)
        devnet.forget(folder)
        console.print(f"stopped the chain at {record.url}")


@app.command()
def status(folder: Folder = DEFAULT_FOLDER) -> None:
    """Prices, accounts with their health, addresses."""
    with _one_sentence():
        record = devnet.find(folder)
        chain = record.attach()
        seen = chain.observe()
        deployment = record.deployment
        age = int(time.time()) - seen.timestamp
        console.print(f"block {seen.block}, {'now' if abs(age) < 60 else f'clock {-age:+d} s'}, {record.url}")
        prices = Table("price", "answer", "feed", box=None)
        for spec in world.FEEDS:
            answer = seen.answers[spec.name]
            prices.add_row(spec.name, f"{answer / 10**spec.decimals:,.4f}", deployment.feeds[spec.name])
        console.print(prices)
        for person in (OWNER, UNPROTECTED):
            accounts = Table(person.name, "health", "collateral", "debt", box=None)
            for name, position in seen.positions[person.address].items():
                accounts.add_row(name, _health(position), *_amounts(position, name))
            for symbol in world.WALLET_RAW:
                raw = seen.idle_raw[person.address][symbol]
                accounts.add_row("wallet", "", _amount(raw, symbol), "")
            console.print(accounts)
        addresses = Table("who and what", Column("address or market id", overflow="fold"), box=None)
        for person in world.PEOPLE:
            addresses.add_row(person.name, person.address)
        for name in ("guard", "morpho", "irm"):
            addresses.add_row(name, getattr(deployment, name))
        for symbol, address in deployment.tokens.items():
            addresses.add_row(symbol, address)
        for name, market in deployment.markets.items():
            addresses.add_row(name, market.id)
        console.print(addresses)


def _health(position: Position) -> str:
    if position.health >= NO_DEBT:
        return "no debt"
    return f"{position.health / WAD:.4f}" + (" LIQUIDATABLE" if position.is_liquidatable else "")


def _amounts(position: Position, market: str) -> tuple[str, str]:
    spec = world.market(market)
    return _amount(position.collateral_raw, spec.collateral), _amount(position.debt_raw, spec.loan)


def _amount(raw: int, symbol: str) -> str:
    return f"{raw / 10 ** world.token(symbol).decimals:,.4f} {symbol}"


@app.command(context_settings={"ignore_unknown_options": True})  # else -12% would be an option
def price(
    symbol: Annotated[str, typer.Argument(help="WETH, WBTC, USDC, DAI or wstETH.")],
    to: Annotated[str, typer.Argument(help="2500, or relative to now: -12%.")],
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Set a price; it holds in the block that this command mines."""
    with _one_sentence():
        chain = _attached(folder)
        before, after = chain.price(symbol), chain.set_price(symbol, to)
        spec = world.feed_for(symbol)
        unit = 10**spec.decimals
        console.print(f"{spec.name} {before / unit:,.4f} → {after / unit:,.4f} ({100 * after / before - 100:+.2f} %)")


@app.command()
def warp(
    duration: Annotated[str, typer.Argument(help="90s, 15m, 1h or 2d.")],
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Move the clock forwards; prices grow as old as that."""
    with _one_sentence():
        seconds = parse_duration(duration)
        chain = _attached(folder)
        chain.warp(seconds)
        console.print(f"block {chain.node.block_number()} is {seconds} seconds later")


@app.command()
def refresh(folder: Folder = DEFAULT_FOLDER) -> None:
    """Give every feed a new round with its old answer, as after a warp."""
    with _one_sentence():
        _attached(folder).refresh_prices()
        console.print("every feed has a fresh round")


@app.command()
def mine(
    blocks: Annotated[int, typer.Argument(help="How many.", min=1)] = 1,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Mine blocks now."""
    with _one_sentence():
        chain = _attached(folder)
        chain.mine(blocks)
        console.print(f"block {chain.node.block_number()}")


@app.command()
def env(folder: Folder = DEFAULT_FOLDER) -> None:
    """Print the chain as shell variables: eval "$(scripts/devnet env)"."""
    with _one_sentence():
        record = devnet.find(folder)
        variables = {
            "ETH_RPC_URL": record.url,
            "DEVNET_CONFIG": str(folder.absolute() / "keeper.toml"),
            "DEVNET_GUARD": record.deployment.guard,
            "DEVNET_MORPHO": record.deployment.morpho,
            "DEVNET_OWNER": OWNER.address,
            "DEVNET_KEEPER": KEEPER.address,
        }
        for name, value in variables.items():
            print(f"export {name}='{value}'")


def main() -> None:
    arguments = sys.argv[1:]
    is_command = bool(arguments) and (not arguments[0].startswith("-") or arguments[0] == "--help")
    app(arguments if is_command else ["up", *arguments], prog_name="scripts/devnet")


if __name__ == "__main__":
    main()
