"""What the demo shows: a live table on a terminal, a line per block elsewhere, and the comparison at the end."""

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from scripts.localchain import world
from scripts.localchain.abi import artefact, error_name
from scripts.localchain.events import Event, Liquidation, Rescue, RescueFailure
from scripts.localchain.measure import KeeperResult, WalletResult
from scripts.localchain.observe import NO_DEBT, Observation, Position
from scripts.localchain.world import OWNER, UNPROTECTED, WAD

EVENTS_SHOWN = 10
DANGER, CAUTION = 105 * WAD // 100, 115 * WAD // 100


class Screen:
    """Shows block after block; as a context manager it gives the terminal back."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._events: list[Text] = []
        self._liquidated: set[tuple[str, str]] = set()
        """Borrower and market."""
        self._first: Observation | None = None

    def __enter__(self) -> "Screen":
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, seen: Observation, events: Sequence[Event]) -> None:
        self._first = self._first or seen
        told = [describe(event, seen) for event in events]
        self._liquidated |= {(event.borrower, event.market) for event in events if isinstance(event, Liquidation)}
        self._events += told
        if self._live:
            self._live.update(
                Group(_heading(seen, self._first), _table(seen, self._liquidated), *self._events[-EVENTS_SHOWN:]),
                refresh=True,
            )
        else:
            lowest = [_health_text(_lowest(seen, person)) for person in (OWNER, UNPROTECTED)]
            heading = _heading(seen, self._first)
            self._console.print(heading.append(f"  lowest: protected {lowest[0]}, unprotected {lowest[1]}"))
            for text in told:
                self._console.print(Text("  ").append(text))


def _heading(seen: Observation, first: Observation) -> Text:
    parts = [f"block {seen.block}"]
    for feed in ("ETH/USD", "BTC/USD"):
        change = 100 * seen.answers[feed] / first.answers[feed] - 100
        parts.append(f"{feed.split('/')[0]} {seen.answers[feed] / 1e8:,.0f} ({change:+.1f} %)")
    return Text("  ".join(parts))


def _lowest(seen: Observation, person: world.Person) -> int:
    return min(position.health for position in seen.positions[person.address].values())


def _health_text(health: int) -> str:
    return "no debt" if health >= NO_DEBT else f"{health / WAD:.3f}"


def _cell(position: Position) -> Text:
    text = _health_text(position.health)
    if position.health >= NO_DEBT:
        return Text(text, style="dim")
    style = "bold red" if position.health < DANGER else "yellow" if position.health < CAUTION else "green"
    return Text(text, style=style)


def _table(seen: Observation, liquidated: set[tuple[str, str]]) -> Table:
    table = Table(
        "account",
        *(_right(name) for name in ("protected", "collateral", "unprotected", "collateral")),
        box=None,
    )
    for spec in world.POSITIONS:
        market = world.market(spec.market)
        cells: list[Text | str] = []
        for person in (OWNER, UNPROTECTED):
            position = seen.positions[person.address][spec.market]
            is_liquidated = (person.address.lower(), spec.market) in liquidated
            health = Text("liquidated", style="bold red") if is_liquidated else _cell(position)
            cells += [health, _amount(position.collateral_raw, market.collateral)]
        table.add_row(spec.market, *cells)
    for symbol in world.WALLET_RAW:
        idle = [_amount(seen.idle_raw[person.address][symbol], symbol) for person in (OWNER, UNPROTECTED)]
        table.add_row("wallet", "", idle[0], "", idle[1])
    return table


def _right(name: str) -> Column:
    return Column(name, justify="right", no_wrap=True)


def _amount(raw: int, symbol: str) -> str:
    return f"{raw / 10 ** world.token(symbol).decimals:,.3f} {symbol}"


def describe(event: Event, seen: Observation) -> Text:
    """One event as a sentence; `seen` is the end of its block."""
    match event:
        case Liquidation():
            who = "protected" if event.borrower == OWNER.address.lower() else "unprotected"
            spec = world.market(event.market)
            loss = seen.usd(spec.collateral, event.seized_raw) - seen.usd(spec.loan, event.repaid_raw)
            return Text(
                f"{event.block}  {who} wallet liquidated in {event.market}: "
                f"{_amount(event.seized_raw, spec.collateral)} seized, ${loss / WAD:,.0f} lost",
                style="red",
            )
        case Rescue():
            moves = ", ".join(f"{_amount(move.amount_raw, move.symbol)} from {move.donor}" for move in event.moves)
            return Text(
                f"{event.block}  rescued {event.recipient} {event.health_before / WAD:.3f} → "
                f"{event.health_after / WAD:.3f}: {moves}",
                style="green",
            )
        case RescueFailure():
            why = error_name(artefact("MarginGuard").abi, event.reason) or f"0x{event.reason[:4].hex()}"
            return Text(f"{event.block}  a rescue was refused on-chain: {why}", style="yellow")


def report(console: Console, protected: WalletResult, unprotected: WalletResult, keeper: KeeperResult) -> None:
    """Both wallets side by side, and what the keeper did."""
    table = Table("", _right("protected"), _right("unprotected"), box=None)
    results = (protected, unprotected)
    table.add_row("liquidations", *(str(result.liquidations) for result in results))
    table.add_row("collateral seized", *(_seized(result) for result in results))
    table.add_row("lost to liquidators", *(_usd(result.loss_usd) for result in results))
    table.add_row("equity before", *(_usd(result.equity_before_usd) for result in results))
    table.add_row("equity after", *(_usd(result.equity_after_usd) for result in results))
    table.add_row("lowest health at a block end", *(f"{result.lowest_health / WAD:.4f}" for result in results))
    console.print()
    console.print(table)
    waits = [judged.blocks_to_inclusion for judged in keeper.rescues]
    console.print(
        f"\nThe keeper made {len(keeper.rescues)} rescues in {keeper.transactions} transactions for "
        f"{keeper.gas_used:,} gas ({_usd(keeper.gas_cost_usd)})"
        + (f", each within {_blocks(max(waits))} of its trigger." if waits else "."),
        highlight=False,
    )


def _blocks(count: int) -> str:
    return f"{count} block" if count == 1 else f"{count} blocks"


def _usd(wad: int) -> str:
    return f"${wad / WAD:,.2f}"


def _seized(result: WalletResult) -> str:
    parts = [_amount(raw, symbol) for symbol, raw in result.seized_raw.items() if raw]
    return ", ".join(parts) or "nothing"
