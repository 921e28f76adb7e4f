"""What the demo of a portfolio shows: a line per block with what happened, and both wallets side by side at the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from scripts.localchain import world
from scripts.localchain.abi import artefact, error_name
from scripts.localchain.observe import NO_DEBT
from scripts.localchain.world import WAD
from scripts.portfolio.observe import Event, Failure, Liquidation, Rescue, Seen, health_text
from scripts.portfolio.world import IDLE, MORPHO, OTHER, OWN, PROTECTED, UNPROTECTED, WALLETS, Wallet

PROTOCOL_OF = {MORPHO: "Morpho", OWN: "Aave", OTHER: "Aave", IDLE: "wallet"}


@dataclass(frozen=True, slots=True)
class Work:
    """What the keeper did, and its price."""

    transactions: int
    reverted: int
    gas: int
    cost_usd: int
    """WAD."""


def say_block(console: Console, first: Seen, seen: Seen, events: Sequence[Event]) -> None:
    parts = [f"block {seen.block}"]
    for feed in ("ETH/USD", "BTC/USD"):
        answer, start = seen.prices.answers[feed], first.prices.answers[feed]
        parts.append(f"{feed.split('/')[0]} {answer / 1e8:,.0f} ({100 * answer / start - 100:+.1f} %)")
    lowest = [f"{wallet.name} {health_text(_lowest(seen, wallet))}" for wallet in WALLETS]
    console.print(Text("  ".join(parts) + f"  lowest: {', '.join(lowest)}"))
    for event in events:
        console.print(Text("  ").append(_described(event)))


def _lowest(seen: Seen, wallet: Wallet) -> int:
    return min(account.health for account in seen.accounts[wallet.name].values())


def _described(event: Event) -> Text:
    match event:
        case Liquidation():
            return Text(
                f"{event.wallet} wallet liquidated in {event.account}: {_amount(event.seized_raw, event.seized)} "
                f"seized, ${event.loss_usd / WAD:,.0f} lost",
                style="red",
            )
        case Rescue():
            done = "repaid" if event.is_repayment else "moved in"
            moves = ", ".join(f"{_amount(move.amount_raw, move.symbol)} from {move.donor}" for move in event.moves)
            healths = f"{health_text(event.health_before)} → {health_text(event.health_after)}"
            return Text(f"rescued {event.recipient} {healths}: {moves} {done}", style="green")
        case Failure():
            why = error_name(artefact("MarginGuard").abi, event.reason) or f"0x{event.reason[:4].hex()}"
            return Text(f"a rescue was refused on-chain: {why}", style="yellow")


def report(console: Console, seen: Sequence[Seen], events: Sequence[Event], work: Work) -> None:
    """Every account of both wallets, and what the keeper did."""
    columns = ("protected", "lowest", "end", "unprotected", "lowest", "end")
    table = Table(
        Column("account", no_wrap=True),
        *(Column(name, justify="right", no_wrap=True) for name in columns),
        box=None,
    )
    for account in seen[0].accounts[PROTECTED.name]:
        cells: list[str] = []
        for wallet in WALLETS:
            healths = [one.accounts[wallet.name][account].health for one in seen]
            cells += [health_text(healths[0]), health_text(min(healths)), _end(events, wallet, account, healths[-1])]
        table.add_row(account, *cells)
    console.print()
    console.print(table)
    losses = Table("", *(Column(wallet.name, justify="right") for wallet in WALLETS), box=None)
    losses.add_row("liquidations", *(str(len(_liquidations(events, wallet))) for wallet in WALLETS))
    losses.add_row("lost to liquidators", *(_usd(_loss(events, wallet)) for wallet in WALLETS))
    losses.add_row("equity before", *(_usd(seen[0].equity_usd(wallet)) for wallet in WALLETS))
    losses.add_row("equity after", *(_usd(seen[-1].equity_usd(wallet)) for wallet in WALLETS))
    console.print()
    console.print(losses)
    across, repaid = _by_kind(events)
    console.print(
        f"\nThe keeper saved {MORPHO} {across} times with collateral from Aave and {OTHER} {repaid} times by repaying: "
        f"{work.transactions} transactions, {work.gas:,} gas ({_usd(work.cost_usd)}).",
        highlight=False,
    )


def _end(events: Sequence[Event], wallet: Wallet, account: str, health: int) -> str:
    if any(one.account == account for one in _liquidations(events, wallet)):
        return "seized"
    return health_text(health)


def _liquidations(events: Sequence[Event], wallet: Wallet) -> list[Liquidation]:
    return [one for one in events if isinstance(one, Liquidation) and one.wallet == wallet.name]


def _loss(events: Sequence[Event], wallet: Wallet) -> int:
    return sum(one.loss_usd for one in _liquidations(events, wallet))


def _by_kind(events: Sequence[Event]) -> tuple[int, int]:
    """Rescues by collateral from another protocol, and by repaying."""
    rescues = [one for one in events if isinstance(one, Rescue)]
    across = [
        one
        for one in rescues
        if not one.is_repayment and any(PROTOCOL_OF[move.donor] != PROTOCOL_OF[one.recipient] for move in one.moves)
    ]
    return len(across), sum(one.is_repayment for one in rescues)


def as_json(seen: Sequence[Seen], events: Sequence[Event], work: Work) -> dict[str, Any]:
    """In the words of the plain demo's JSON."""
    rescues = [one for one in events if isinstance(one, Rescue)]
    across, repaid = _by_kind(events)
    return {
        "blocks": len(seen) - 1,
        **{wallet.name: _wallet_json(seen, events, wallet) for wallet in (PROTECTED, UNPROTECTED)},
        "keeper": {
            "transactions": work.transactions,
            "transactions_reverted": work.reverted,
            "gas_used": work.gas,
            "gas_cost_usd": round(work.cost_usd / WAD, 2),
            "rescues": len(rescues),
            "rescues_failed": sum(isinstance(one, Failure) for one in events),
            "rescues_across_protocols": across,
            "rescues_by_repaying": repaid,
            "rescued": {account: sum(one.recipient == account for one in rescues) for account in (MORPHO, OWN, OTHER)},
        },
    }


def _wallet_json(seen: Sequence[Seen], events: Sequence[Event], wallet: Wallet) -> dict[str, Any]:
    lowest = {
        account: min(one.accounts[wallet.name][account].health for one in seen) for account in (MORPHO, OWN, OTHER)
    }
    return {
        "liquidations": len(_liquidations(events, wallet)),
        "liquidated": sorted({one.account for one in _liquidations(events, wallet)}),
        "loss_usd": round(_loss(events, wallet) / WAD, 2),
        "equity_before_usd": round(seen[0].equity_usd(wallet) / WAD, 2),
        "equity_after_usd": round(seen[-1].equity_usd(wallet) / WAD, 2),
        "block_ends_liquidatable": sum(_lowest(one, wallet) < WAD for one in seen),
        "lowest_health": {
            name: None if health >= NO_DEBT else round(health / WAD, 4) for name, health in lowest.items()
        },
    }


def _usd(wad: int) -> str:
    return f"${wad / WAD:,.2f}"


def _amount(raw: int, symbol: str) -> str:
    return f"{raw / 10 ** world.token(symbol).decimals:,.3f} {symbol}"
