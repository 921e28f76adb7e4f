"""`keeper VERB`: parses a command line, calls the verb, prints what it answers.

Exit codes: 0 fine, 1 failed, 2 wrong usage or configuration, 3 there is something to do (`plan`). With `--json` the
answer is one JSON document on standard output; whatever else is to be said goes to standard error.
"""

import json as json_format
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from rich.console import Console

from keeper.commands.answer import Answer, Verbatim
from keeper.errors import KeeperError

app = typer.Typer(
    name="keeper",
    help="Keeps one wallet's margin positions from being liquidated by moving collateral between them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ConfigOption = Annotated[Path, typer.Option("--config", help="The keeper.toml to use.", metavar="FILE")]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer with one JSON document.")]
DEFAULT_CONFIG = Path("keeper.toml")
PIPE_WIDTH = 1_000
USAGE = 2
INTERRUPTED = 130
"""As a shell counts: 128 and the number of SIGINT."""


def main() -> NoReturn:
    """The console script. No traceback reaches a person for a foreseeable fault."""
    try:
        code = app(standalone_mode=False, prog_name="keeper")
    except typer.TyperException as problem:
        message = problem.format_message().replace("Value error, ", "")
        if not message.startswith("Usage:"):
            message = f"keeper: {message} See `keeper --help` and `keeper VERB --help`."
        _fail(message, as_json="--json" in sys.argv)
        code = USAGE
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


def _fail(message: str, *, as_json: bool) -> None:
    if as_json:
        print(json_format.dumps({"error": message.removeprefix("keeper: ")}, indent=2))
    print(message, file=sys.stderr)


def answer(verb: Callable[[], Answer], as_json: bool) -> NoReturn:
    """Prints what a verb answers, or the sentence of its fault, and exits with its code."""
    try:
        answered = verb()
    except KeeperError as fault:
        _fail(f"keeper: {fault}", as_json=as_json)
        raise typer.Exit(fault.exit_code) from None
    try:
        if not as_json:
            _show(answered)
        elif answered.document is not None:
            print(json_format.dumps(answered.document, indent=2))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read us has seen enough. What is still buffered must not be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise typer.Exit(answered.exit_code)


def _show(answered: Answer) -> None:
    """As wide as it needs to be unless a person is looking: what a program reads is neither wrapped nor padded."""
    is_terminal = sys.stdout.isatty()
    console = Console(highlight=False, width=None if is_terminal else PIPE_WIDTH, soft_wrap=not is_terminal)
    for part in answered.parts:
        if isinstance(part, Verbatim) or (isinstance(part, str) and not is_terminal):
            print(part)
        elif is_terminal:
            console.print(part, markup=False)
        else:
            with console.capture() as printed:
                console.print(part)
            print("\n".join(map(str.rstrip, printed.get().splitlines())))


@app.command()
def init(
    owner: Annotated[str, typer.Option(help="The wallet to keep.", metavar="ADDRESS")],
    rpc_url: Annotated[str, typer.Option(help="The node: a URL, env:NAME or file:PATH.", metavar="URL")],
    discover: Annotated[
        bool, typer.Option("--discover", help="Find the owner's positions: by logs and the protocols' lists.")
    ] = False,
    morpho: Annotated[
        str | None, typer.Option(help="Morpho Blue, where it is not at its usual address.", metavar="ADDRESS")
    ] = None,
    market: Annotated[
        list[str] | None, typer.Option(help="A market id to include; may be repeated.", metavar="ID")
    ] = None,
    aave_pool: Annotated[
        str | None, typer.Option(help="An Aave v3 pool that is not the chain's main one.", metavar="ADDRESS")
    ] = None,
    account: Annotated[
        list[str] | None,
        typer.Option(
            help="Another account on Aave or Venus to keep, beside the owner's; may be repeated.", metavar="ADDRESS"
        ),
    ] = None,
    evc: Annotated[
        str | None, typer.Option(help="Euler's connector, where it is not the chain's usual one.", metavar="ADDRESS")
    ] = None,
    euler_vault: Annotated[
        list[str] | None, typer.Option(help="A vault of Euler's to include; may be repeated.", metavar="ADDRESS")
    ] = None,
    venus_pool: Annotated[
        list[str] | None,
        typer.Option(
            help="The comptroller of a pool of Venus, where not all pools of the chain are meant; may be repeated.",
            metavar="ADDRESS",
        ),
    ] = None,
    from_block: Annotated[int, typer.Option(help="Where the search through the logs starts.", min=0)] = 0,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.", metavar="FILE")] = DEFAULT_CONFIG,
    force: Annotated[bool, typer.Option("--force", help="Overwrite it if it exists.")] = False,
    json: JsonOption = False,
) -> None:
    """Find the owner's positions and write a commented keeper.toml with defaults and their reasons."""
    from keeper.commands import init as verb

    answer(
        lambda: verb.init(
            owner=owner,
            rpc_url=rpc_url,
            find_positions=discover,
            morpho=morpho,
            markets=market or [],
            aave_pool=aave_pool,
            accounts=account or [],
            evc=evc,
            vaults=euler_vault or [],
            venus_pools=venus_pool or [],
            from_block=from_block,
            output=output,
            force=force,
        ),
        json,
    )


@app.command()
def setup(
    config: ConfigOption = DEFAULT_CONFIG,
    keeper: Annotated[
        str | None, typer.Option(help="The hot key's address, if no [signer] is configured yet.", metavar="ADDRESS")
    ] = None,
    unpause: Annotated[
        bool, typer.Option("--unpause", help="Also end a pause of the guard; only the owner can.")
    ] = False,
    form: Annotated[
        Literal["list", "safe", "cast"], typer.Option(help="list, Safe Transaction Builder JSON, or cast send lines.")
    ] = "list",
    cap: Annotated[
        list[str] | None,
        typer.Option(
            help="What may move per window, such as WETH=50/1d; may be repeated.", metavar="TOKEN=AMOUNT/WINDOW"
        ),
    ] = None,
    allowance: Annotated[
        list[str] | None,
        typer.Option(
            help="What the guard may take from the wallet, such as WETH=20; may be repeated.", metavar="TOKEN=AMOUNT"
        ),
    ] = None,
    retire: Annotated[
        list[str] | None,
        typer.Option(
            help="Take an account out of the guard for good, by its number there, or all; may be repeated.",
            metavar="NUMBER",
        ),
    ] = None,
    send: Annotated[bool, typer.Option("--send", help="Send what is missing with the owner's keystore.")] = False,
    owner_keystore: Annotated[
        Path | None, typer.Option(help="The owner's keystore file, with --send.", metavar="FILE")
    ] = None,
    owner_password: Annotated[
        str | None, typer.Option(help="Its password: env:NAME or file:PATH.", metavar="SECRET")
    ] = None,
    impersonate: Annotated[
        bool, typer.Option("--impersonate", help="Send as the owner without a key: local chains and forks only.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """The owner's transactions that are still missing, and what each of them allows."""
    from keeper.commands import setup as verb

    answer(
        lambda: verb.setup(
            config,
            keeper=keeper,
            unpaused=unpause,
            form=form,
            caps=cap or [],
            allowances=allowance or [],
            retired=retire or [],
            send=send,
            owner_keystore=owner_keystore,
            owner_password=owner_password,
            impersonate=impersonate,
        ),
        json,
    )


@app.command()
def check(config: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """Look at everything that must be right before the keeper can be relied on; sends nothing."""
    from keeper.commands import check as verb

    answer(lambda: verb.check(config), json)


@app.command()
def status(config: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """Every subaccount, nearest to liquidation first."""
    from keeper.commands import status as verb

    answer(lambda: verb.status(config), json)


@app.command()
def plan(
    config: ConfigOption = DEFAULT_CONFIG,
    shock: Annotated[
        str | None, typer.Option(help="Price changes to assume first.", metavar="WETH=-12%,WBTC=-5%")
    ] = None,
    gas: Annotated[str | None, typer.Option(help="Another price of gas to assume.", metavar="200gwei")] = None,
    is_return: Annotated[
        bool,
        typer.Option(
            "--return", help="The owner's transactions that undo what rescues moved, as far as can be spared."
        ),
    ] = False,
    form: Annotated[
        Literal["list", "safe", "cast"],
        typer.Option(help="With --return: list, Safe Transaction Builder JSON, or cast send lines."),
    ] = "list",
    json: JsonOption = False,
) -> None:
    """What would be sent now, why, and what it costs; exits 3 when there is something to do."""
    from keeper.commands import plan as verb

    answer(lambda: verb.plan(config, shock=shock, gas=gas, is_return=is_return, form=form), json)


@app.command()
def run(
    config: ConfigOption = DEFAULT_CONFIG,
    once: Annotated[bool, typer.Option("--once", help="One cycle, then exit.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="The same path, stopping before signing.")] = False,
    json: JsonOption = False,
) -> None:
    """The daemon."""
    from keeper.commands import run as verb

    answer(lambda: verb.run(config, once=once, dry_run=dry_run), json)


@app.command()
def explain(
    subaccount: Annotated[str, typer.Argument(help="Its id, or an unambiguous beginning of it.", metavar="SUBACCOUNT")],
    config: ConfigOption = DEFAULT_CONFIG,
    json: JsonOption = False,
) -> None:
    """How health and verdict come about, number by number, with the block."""
    from keeper.commands import explain as verb

    answer(lambda: verb.explain(config, subaccount), json)


@app.command(name="what-if")
def what_if(
    grid: Annotated[
        str, typer.Option(help="How prices move, from where they are outwards.", metavar="WETH=-50%..0%:5%")
    ],
    config: ConfigOption = DEFAULT_CONFIG,
    plot: Annotated[Path | None, typer.Option(help="Also draw it.", metavar="FILE.png")] = None,
    json: JsonOption = False,
) -> None:
    """Who lives, is rescued or dies as prices move step by step, with the keeper and without."""
    from keeper.commands import what_if as verb

    answer(lambda: verb.what_if(config, grid=grid, plot=plot), json)


journal_app = typer.Typer(rich_markup_mode=None)
app.add_typer(journal_app, name="journal")


@journal_app.callback(invoke_without_command=True)
def journal(
    context: typer.Context,
    config: ConfigOption = DEFAULT_CONFIG,
    since: Annotated[str, typer.Option(help="How far back.", metavar="DURATION")] = "24h",
    follow: Annotated[bool, typer.Option("--follow", help="Go on printing what is added.")] = False,
    json: JsonOption = False,
) -> None:
    """What was seen, decided and sent."""
    if context.invoked_subcommand is not None:
        return
    from keeper.commands import journal as verb

    answer(lambda: verb.journal(config, since=since, follow=follow, as_json=json), json)


@journal_app.command()
def replay(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="The plan's id, a beginning of it, or `last`.", metavar="ID")],
    config: Annotated[Path | None, typer.Option("--config", help="The keeper.toml to use.", metavar="FILE")] = None,
    json: JsonOption = False,
) -> None:
    """Make a recorded decision again, offline, and say whether the same plan comes out."""
    from keeper.commands import replay as verb

    before = {} if context.parent is None else context.parent.params  # what stands before `replay` counts as well
    path = config or before.get("config", DEFAULT_CONFIG)
    answer(lambda: verb.replay(path, id, int(time.time())), json or bool(before.get("json")))


@app.command()
def pause(
    config: ConfigOption = DEFAULT_CONFIG,
    protect_only: Annotated[bool, typer.Option("--protect-only", help="Debt-free donors may still give.")] = False,
    onchain: Annotated[
        bool,
        typer.Option("--onchain", help="Also send the guard's pause with the keeper key; only the owner can undo it."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Stop every send at once."""
    from keeper.commands import pause as verb

    answer(lambda: verb.pause(config, protect_only=protect_only, onchain=onchain), json)


@app.command()
def resume(config: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """Undo `pause`."""
    from keeper.commands import pause as verb

    answer(lambda: verb.resume(config), json)
