"""What a rehearsal prints: every account with the keeper and without, and one sentence of conclusion."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from keeper.core.amounts import amount_text
from keeper.core.units import INFINITE_HEALTH, WAD, Wad
from keeper.documents import health_document
from keeper.report import counted, health_text, percent_text, usd_text
from scripts.rehearsal.falls import Falls
from scripts.rehearsal.outcome import AccountOutcome, Loss, Outcome

NOT_IN_IT = (
    "gas that grows dear while everybody liquidates, transactions that wait, a node that fails, other people's "
    "positions, and what a crash does to liquidity"
)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """All that is known in the end."""

    owner: str
    chain_id: int
    block: int
    """Of the live chain, from which the fork goes on."""
    owner_is_contract: bool
    granted: tuple[str, ...]
    falls: Falls
    followers: Mapping[str, str]
    scaled_feeds: tuple[str, ...]
    scaled_oracles: tuple[str, ...]
    without: Outcome
    kept: Outcome
    not_simulated: tuple[str, ...]


def report(console: Console, rehearsal: Rehearsal) -> None:
    console.print()
    console.print(_table(rehearsal))
    console.print(f"\n{conclusion(rehearsal)}")
    for sentence in rehearsal.not_simulated:
        console.print(Text(f"Not simulated: {sentence}", style="yellow"))
    console.print(f"Not in it: {NOT_IN_IT}.")


def where(falls: Falls, step: int) -> str:
    """`WETH -12 %, WBTC -8 %`; today's prices at step 0."""
    if step == 0:
        return "today's prices"
    changes = falls.changes_at(step).items()
    return ", ".join(f"{symbol} {_signed(bps)}" for symbol, bps in changes)


def _signed(bps: int) -> str:
    return f"{'-' if bps < 0 else '+' if bps else ''}{percent_text(abs(bps))}"


def conclusion(rehearsal: Rehearsal) -> str:
    """One sentence."""
    falls, without, kept = rehearsal.falls, rehearsal.without, rehearsal.kept
    bottom = where(falls, falls.steps)
    if not without.liquidated and not kept.liquidated:
        nobody = f"With {bottom} nobody is liquidated, with the keeper or without it"
        return f"{nobody}; it made {_work(kept)}." if kept.rescues else f"{nobody}, and it had nothing to do."
    return (
        f"With {bottom}, without the keeper {_fate(falls, without)}; with it {_fate(falls, kept)}, for {_work(kept)}."
    )


def _fate(falls: Falls, outcome: Outcome) -> str:
    first = outcome.first_liquidation
    if first is None:
        return "nobody is liquidated"
    verb = "is" if len(outcome.liquidated) == 1 else "are"
    who = f"{len(outcome.liquidated)} of {counted(len(outcome.accounts), 'account')} {verb} liquidated"
    return f"{who}, the first at {where(falls, first)}, and liquidators take {_usd(outcome.lost_usd)}"


def _work(outcome: Outcome) -> str:
    work = f"{counted(outcome.rescues, 'rescue')} and {outcome.gas_used:,} gas"
    work += "" if outcome.gas_usd is None else f" ({usd_text(outcome.gas_usd)})"
    return work + (f", {counted(outcome.reverted, 'transaction')} reverted" if outcome.reverted else "")


def _usd(value: Wad | None) -> str:
    return "what has no price in USD" if value is None else usd_text(value)


# The table ------------------------------------------------------------------------------------------------------------


def _table(rehearsal: Rehearsal) -> RenderableType:
    falls = rehearsal.falls
    first = next(iter(falls.changes_bps))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("account", overflow="fold")
    for title in ("health\nnow", "lowest\nwithout", "lowest\nwith", "end\nwithout", "end\nwith"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column(f"what happens, by the price of {first}", overflow="fold")
    for without, kept in zip(rehearsal.without.accounts, rehearsal.kept.accounts, strict=True):
        events = [
            *(f"without: {_loss(falls, loss)}" for loss in without.losses),
            *_rescues(falls, kept),
            *(f"with: {_loss(falls, loss)}" for loss in kept.losses),
        ]
        table.add_row(
            without.label,
            _health(without.start),
            _health(without.lowest),
            _health(kept.lowest),
            _end(without),
            _end(kept),
            "\n".join(events),
        )
    return table


def _end(account: AccountOutcome) -> Text:
    # "no debt" would read as if it had come off well.
    return Text("emptied", style="bold red") if account.is_emptied else _health(account.end)


def _health(health: Wad | None) -> Text:
    if health is None:
        return Text("unknown", style="bold red")
    if health >= INFINITE_HEALTH:
        return Text(health_text(health), style="dim")
    return Text(health_text(health), style="bold red" if health < WAD else "")


def _loss(falls: Falls, loss: Loss) -> str:
    seized = ", ".join(amount_text(raw, token) for token, raw in loss.seized_raw.items())
    worth = "" if loss.seized_usd is None else f" ({usd_text(loss.seized_usd)})"
    return f"liquidated at {_change(falls, loss.step)}: {seized}{worth} seized, {_usd(loss.lost_usd)} lost"


def _rescues(falls: Falls, account: AccountOutcome) -> list[str]:
    if not account.rescued_at:
        return []
    return [f"with: rescued at {', '.join(_change(falls, step) for step in account.rescued_at)}"]


def _change(falls: Falls, step: int) -> str:
    """Of the token that was named first: `-12 %`."""
    return _signed(next(iter(falls.changes_at(step).values())))


# For programs ---------------------------------------------------------------------------------------------------------


def document(rehearsal: Rehearsal) -> dict[str, Any]:
    """Healths and money as in the keeper's own documents: WAD, as decimal strings; null where there is none."""
    falls = rehearsal.falls
    return {
        "owner": rehearsal.owner,
        "owner_is_contract": rehearsal.owner_is_contract,
        "chain_id": rehearsal.chain_id,
        "block": rehearsal.block,
        "falls_bps": dict(falls.changes_bps),
        "falls_with": dict(rehearsal.followers),
        "steps": falls.steps,
        "granted": list(rehearsal.granted),
        "scaled_feeds": list(rehearsal.scaled_feeds),
        "scaled_oracles": list(rehearsal.scaled_oracles),
        "without_keeper": _act_document(falls, rehearsal.without),
        "with_keeper": _act_document(falls, rehearsal.kept),
        "not_simulated": list(rehearsal.not_simulated),
        "conclusion": conclusion(rehearsal),
    }


def _act_document(falls: Falls, outcome: Outcome) -> dict[str, Any]:
    return {
        "liquidated_accounts": len(outcome.liquidated),
        "lost_usd_wad": _wad(outcome.lost_usd),
        "rescues": outcome.rescues,
        "transactions": outcome.transactions,
        "transactions_reverted": outcome.reverted,
        "gas_used": outcome.gas_used,
        "gas_usd_wad": _wad(outcome.gas_usd),
        "accounts": [_account_document(falls, account) for account in outcome.accounts],
    }


def _account_document(falls: Falls, account: AccountOutcome) -> dict[str, Any]:
    healths = {"start": account.start, "lowest": account.lowest, "end": account.end}
    return {
        "id": str(account.id),
        "label": account.label,
        **{f"health_{name}_wad": None if value is None else health_document(value) for name, value in healths.items()},
        "is_known": None not in healths.values(),
        "is_emptied": account.is_emptied,
        "lowest_at_step": account.lowest_step,
        "rescued_at_steps": list(account.rescued_at),
        "liquidations": [
            {
                "step": loss.step,
                "changes_bps": falls.changes_at(loss.step),
                "seized_raw": {token.address: str(raw) for token, raw in loss.seized_raw.items()},
                "seized_usd_wad": _wad(loss.seized_usd),
                "lost_usd_wad": _wad(loss.lost_usd),
            }
            for loss in account.losses
        ],
    }


def _wad(value: Wad | None) -> str | None:
    return None if value is None else str(value)
