"""`scripts/fork`: what a person does before trusting the keeper with a wallet.

On a fork of the live chain it sets the wallet up as its owner would, lets prices fall at the oracles that the protocols
read, once without the keeper and once with it from the same block, and says what became of each account. Nothing is
sent to the live chain, and no key of the owner's is needed.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from rich.console import Console
from web3.types import RPCEndpoint

from keeper.chain.answers import as_int
from keeper.chain.provider import HttpProvider
from keeper.chain.redaction import Redactor
from keeper.commands.plan import parse_shock
from keeper.config import ENVIRONMENT_PREFIX
from keeper.config_values import config_folder, parse_address, parse_http_endpoint
from keeper.core.snapshot import Snapshot, Unknown
from keeper.core.units import WAD, Address
from keeper.errors import ChainError, ConfigError, KeeperError
from keeper.protocols.guard_setup import guard_address
from keeper.protocols.portfolio import Portfolio
from keeper.report import counted, name_of
from scripts.localchain import anvil
from scripts.localchain.abi import ArtefactMissingError
from scripts.localchain.anvil import Anvil, AnvilError
from scripts.localchain.node import Node, NodeError
from scripts.rehearsal.crash import RehearsalError, play
from scripts.rehearsal.falls import Falls, base_of
from scripts.rehearsal.liquidators import Liquidators
from scripts.rehearsal.oracles import Oracles, prices_of, symbols_of
from scripts.rehearsal.outcome import measure
from scripts.rehearsal.screen import Rehearsal, document, report, where
from scripts.rehearsal.wallet import Wish, look, set_up

DEFAULT_FALL_BPS, STEPS = -3_000, 10
STEPS_MAX = 100
PIPE_WIDTH = 140
NODE_SECONDS_MAX = 120.0
STABLE_WAD = (WAD * 9 // 10, WAD * 11 // 10)
"""What is worth about a dollar is not what falls in a crash that nobody described."""


def rehearse(options: argparse.Namespace, console: Console, folder: Path) -> Rehearsal:
    """The whole rehearsal; raises what can go wrong, and leaves nothing running unless `--keep`."""
    wish, changes = _wish(options), None if options.fall is None else parse_shock(options.fall, "--fall")
    url = _endpoint(options.rpc_url)
    chain_id = _chain_id(url)
    process = _start(folder, url)
    node = Node(process.url, NODE_SECONDS_MAX)
    try:
        node.let_anybody_send()
        block = node.block_number()
        console.print(f"Forked chain {chain_id} at block {block}.")
        rehearsal = _on_fork(node, wish, changes, options.steps, folder, console, (chain_id, block))
    except BaseException:
        process.stop()
        raise
    finally:
        node.close()
    report(console, rehearsal)
    if options.keep:
        process.detach()
        _say_what_to_look_at(console, folder, process.pid)
    else:
        process.stop()
    return rehearsal


def _on_fork(
    node: Node,
    wish: Wish,
    changes: dict[str, int] | None,
    steps: int,
    folder: Path,
    console: Console,
    where_forked: tuple[int, int],
) -> Rehearsal:
    is_contract = bool(node.code(wish.owner))
    if is_contract:
        console.print("The owner is a contract; `keeper setup --form safe` writes its transactions for a Safe to sign.")
    wallet = set_up(node, wish, folder)
    console.print(f"The owner's {counted(len(wallet.granted), 'transaction')}, impersonated:")
    for number, sentence in enumerate(wallet.granted, 1):
        console.print(f"  {number}. {sentence}", soft_wrap=True)
    portfolio, snapshot = look(wallet.config)
    prices = prices_of(portfolio.topology)
    falls = Falls(changes or default_changes(portfolio, snapshot), steps)
    symbols = symbols_of(prices)
    _require_known(falls, symbols)
    oracles = Oracles(node, falls, portfolio.topology.feeds, prices)
    oracles.prepare()
    liquidators = Liquidators(node, portfolio.topology)
    bottom = where(falls, falls.steps)
    console.print(f"Prices change to {bottom} in {counted(steps, 'step')}, without the keeper and then with it.")
    for sentence in _how_they_move(falls, symbols, oracles):
        console.print(f"  {sentence}")
    guard, chain = guard_address(wish.owner), node.snapshot()
    without = measure(node, play(node, oracles, liquidators, wallet.config, has_keeper=False), wallet.hot_key, guard)
    node.revert(chain)
    kept = measure(node, play(node, oracles, liquidators, wallet.config, has_keeper=True), wallet.hot_key, guard)
    unread = [
        f"{name_of(each)} cannot be read: {each.reading.reason}."
        for each in snapshot.subaccounts
        if isinstance(each.reading, Unknown)
    ]
    return Rehearsal(
        owner=wish.owner,
        chain_id=where_forked[0],
        block=where_forked[1],
        owner_is_contract=is_contract,
        granted=wallet.granted,
        falls=falls,
        followers=falls.followers(symbols),
        scaled_feeds=tuple(oracles.scaled_feeds),
        scaled_oracles=tuple(oracles.scaled_oracles),
        without=without,
        kept=kept,
        not_simulated=(*unread, *oracles.problems, *liquidators.problems),
    )


def default_changes(portfolio: Portfolio, snapshot: Snapshot) -> dict[str, int]:
    """A fall of all that backs a debt it does not move together with, by what has a feed of its own in USD: what is
    built on it follows. Raises ConfigError when there is nothing."""
    held = {line.token.symbol: line.token for each in snapshot.subaccounts for line in each.collateral}
    volatile = {
        symbol
        for pair in portfolio.pairs()
        if pair.lltv is not None and not pair.moves_together
        for symbol in pair.collateral_symbol.split("+")
        if symbol in held
    }
    low, high = STABLE_WAD
    fall = [
        symbol for symbol in sorted(volatile) if not low < snapshot.usd_per_unit.get(held[symbol].address, 0) < high
    ]
    if not fall:
        raise ConfigError("No account here owes anything that its collateral could fall against; say what with --fall.")
    pairs = [feed.name.partition("/") for feed in portfolio.topology.feeds]
    in_usd = [base.strip() for base, _, quote in pairs if quote.strip().upper() == "USD"]
    return dict.fromkeys((base_of(symbol, in_usd) or symbol for symbol in fall), DEFAULT_FALL_BPS)


def _how_they_move(falls: Falls, symbols: Sequence[str], oracles: Oracles) -> list[str]:
    said = [f"{symbol} moves with {leader}." for symbol, leader in falls.followers(symbols).items()]
    if oracles.scaled_feeds:
        said.append(f"At the price feeds that the protocols read: {', '.join(oracles.scaled_feeds)}.")
    return said + [f"At the oracle itself, whose feeds do not say it: {price}." for price in oracles.scaled_oracles]


def _require_known(falls: Falls, symbols: Sequence[str]) -> None:
    moved = {*falls.followers(symbols).values(), *symbols}
    unknown = [symbol for symbol in falls.changes_bps if symbol not in moved]
    if unknown:
        raise ConfigError(
            f"--fall names {unknown[0]}, which no account here holds or owes; there are {', '.join(sorted(symbols))}."
        )


# Getting there --------------------------------------------------------------------------------------------------------


def _wish(options: argparse.Namespace) -> Wish:
    pool: str | None = options.aave_pool
    return Wish(
        _address(options.owner, "The owner"),
        options.morpho,
        tuple(options.market),
        options.from_block,
        None if pool is None else _address(pool, "--aave-pool"),
        tuple(_address(holder, "--account") for holder in options.account),
        options.evc,
        tuple(options.venus_pool),
    )


def _address(text: str, what: str) -> Address:
    try:
        return parse_address(text)
    except ValueError as problem:
        raise ConfigError(f"{what} is {text!r}: {problem}.") from None


def _endpoint(named: str | None) -> str:
    """Raises ConfigError when no node is named, or by something that is no URL."""
    text = named or os.environ.get("ETH_RPC_URL")
    if not text:
        raise ConfigError("No node is named: set ETH_RPC_URL, or use --rpc-url.")
    token = config_folder.set(Path.cwd())
    try:
        return parse_http_endpoint(text).reveal()
    except ValueError as problem:
        raise ConfigError(f"The node's URL cannot be used: {problem}.") from None
    finally:
        config_folder.reset(token)


def _chain_id(url: str) -> int:
    """Raises ChainError when the node does not answer as one."""

    async def ask() -> int:
        provider = HttpProvider(url)
        try:
            answer = await provider.make_request(RPCEndpoint("eth_chainId"), [])
            return as_int(answer.get("result"))
        except ValueError:
            raise ChainError(f"{provider.label} does not say its chain id; it is no node that can be forked.") from None
        finally:
            await provider.disconnect()

    return asyncio.run(ask())


def _start(folder: Path, url: str) -> Anvil:
    """Raises AnvilError, without the URL, when the node does not let itself be forked."""
    redact = Redactor(url)
    try:
        return anvil.start(folder / "anvil.log", fork_url=url)
    except AnvilError as problem:
        raise AnvilError(f"{redact.label} could not be forked: {redact(str(problem))}") from None


def _say_what_to_look_at(console: Console, folder: Path, pid: int) -> None:
    config = f"--config {folder / 'keeper.toml'}"
    commands = (
        f".venv/bin/keeper status {config}",
        f".venv/bin/keeper journal {config}",
        f"less {folder / 'keeper.toml'}",
        f"kill {pid}; rm -r {folder}",
    )
    console.print("\nThe fork goes on, at the end of the crash with the keeper. To look around, and to end it:")
    for command in commands:
        console.print(f"  {command}", soft_wrap=True)


# The command line -----------------------------------------------------------------------------------------------------


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/fork", description="A crash on a fork of your chain, with the keeper and without; sends nothing."
    )
    parser.add_argument("owner", metavar="OWNER", help="the wallet whose positions are rehearsed")
    parser.add_argument("--rpc-url", metavar="URL", help="the node to fork: a URL, env:NAME or file:PATH (ETH_RPC_URL)")
    parser.add_argument(
        "--fall",
        metavar="WETH=-30%,WBTC=-20%",
        help="how prices change (all volatile collateral -30 %%); what is built on a token changes with it",
    )
    parser.add_argument("--steps", type=_steps, default=STEPS, metavar="N", help=f"in as many blocks ({STEPS})")
    parser.add_argument("--morpho", metavar="ADDRESS", help="Morpho Blue, where it is not at its usual address")
    parser.add_argument("--market", metavar="ID", action="append", default=[], help="a Morpho market; may be repeated")
    parser.add_argument("--from-block", metavar="N", type=int, default=0, help="where the search for positions starts")
    parser.add_argument("--aave-pool", metavar="ADDRESS", help="an Aave v3 pool in which the owner has an account")
    parser.add_argument(
        "--account", metavar="ADDRESS", action="append", default=[], help="another account there; may be repeated"
    )
    parser.add_argument("--evc", metavar="ADDRESS", help="Euler's connector, where it is not the chain's usual one")
    parser.add_argument(
        "--venus-pool", metavar="ADDRESS", action="append", default=[], help="a pool of Venus; may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON document, all else to stderr")
    parser.add_argument("--keep", action="store_true", help="leave the fork running and say how to look around")
    return parser.parse_args(arguments)


def _steps(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= STEPS_MAX:
        raise argparse.ArgumentTypeError(f"from 1 to {STEPS_MAX}")
    return int(text)


def main() -> int:
    options = parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, _interrupt)
    # Overrides of somebody's own keeper do not concern this one.
    for name in [name for name in os.environ if name.startswith(ENVIRONMENT_PREFIX)]:
        del os.environ[name]
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    console = Console(highlight=False, markup=False, stderr=options.json, width=width)
    folder = Path(tempfile.mkdtemp(prefix="margin-keeper-fork-"))
    is_kept = False
    try:
        rehearsal = rehearse(options, console, folder)
        is_kept = options.keep
        if options.json:
            print(json.dumps(document(rehearsal), indent=2), flush=True)
    except (KeeperError, AnvilError, ArtefactMissingError, NodeError, RehearsalError) as problem:
        return _refuse(str(problem), problem.exit_code if isinstance(problem, KeeperError) else 1, options)
    except KeyboardInterrupt:
        return _refuse("interrupted; nothing was left running", 130, options)
    finally:
        if not is_kept:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def _refuse(sentence: str, code: int, options: argparse.Namespace) -> int:
    sentence = sentence.rstrip(".") + "."
    if options.json:
        print(json.dumps({"error": sentence}))
    print(f"fork: {sentence}", file=sys.stderr)
    return code


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
