"""Numbers, tables and sentences for people.

Floats are allowed here: nothing that is printed decides anything. Addresses are shortened on screens and whole in
JSON; amounts carry their symbol; a time is told relative and absolute.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from keeper.core import verdict as verdicts
from keeper.core.plan import Effect, Plan, Rescue, Stage
from keeper.core.policy import Policy
from keeper.core.risk import cushion
from keeper.core.snapshot import (
    Fresh,
    FreshnessUnverified,
    Reading,
    Snapshot,
    Stale,
    Subaccount,
    SubaccountId,
    Token,
    Unknown,
)
from keeper.core.spare import spare_raw
from keeper.core.units import INFINITE_HEALTH, WAD, Address, Wad
from keeper.core.verdict import Verdict

SIGNIFICANT = 6


def health_text(health: Wad) -> str:
    """Four decimals, rounded down, so that 0.99999 never prints as 1.0000."""
    if health >= INFINITE_HEALTH:
        return "no debt"
    return f"{health // 10**14 / 10**4:.4f}"


def amount_text(amount_raw: int, token: Token) -> str:
    """`1.24 WETH`: up to six significant digits, never an exponent, thousands separated."""
    return f"{number_text(amount_raw / 10**token.decimals)} {token.symbol}"


def number_text(value: float) -> str:
    if value == 0:
        return "0"
    magnitude = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    decimals = max(SIGNIFICANT - magnitude, 0) if abs(value) >= 1 else 8
    text = f"{value:,.{decimals}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text if text not in {"0", "-0"} else f"{value:.2e}"


def usd_text(value: Wad) -> str:
    dollars = value / WAD
    sign = "-" if dollars < 0 else ""
    return f"{sign}${abs(dollars):,.2f}" if abs(dollars) < 100_000 else f"{sign}${abs(dollars):,.0f}"


def percent_text(bps: int) -> str:
    return f"{bps / 100:.2f}".rstrip("0").rstrip(".") + " %"


def short(address_or_id: str) -> str:
    """`0x3a85…1b2c`; whatever is short already stays whole."""
    prefix, colon, rest = address_or_id.rpartition(":")
    if rest.startswith("0x") and len(rest) > 14:
        rest = f"{rest[:6]}…{rest[-4:]}"
    return f"{prefix}{colon}{rest}"


def name_of(subaccount: Subaccount) -> str:
    """How a sentence calls it: `WETH/USDC 86% (morpho:0x3a85…1b2c)`."""
    if subaccount.label == str(subaccount.id):
        return subaccount.label
    return f"{subaccount.label} ({short(str(subaccount.id))})"


def age_text(seconds: int) -> str:
    if seconds < 0:
        return "in the future"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def time_text(timestamp: int, now: int) -> str:
    """`3 min ago (2026-01-02 03:04:05 UTC)`."""
    moment = datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{age_text(now - timestamp)} ago ({moment})"


def reading_text(reading: Reading) -> str:
    match reading:
        case Fresh():
            return "fresh"
        case FreshnessUnverified(reason):
            return f"age unverified: {reason}"
        case Stale(reason):
            return f"stale: {reason}"
        case Unknown(reason):
            return f"unknown: {reason}"


def verdict_text(verdict: Verdict, now: int) -> str:
    """One phrase with its reason; the same words in tables, logs and alerts."""
    match verdict:
        case verdicts.Healthy():
            return "healthy"
        case verdicts.Watching():
            return "watching"
        case verdicts.Rescue(in_flight):
            return "rescue on its way" if in_flight else "rescue"
        case verdicts.Unfunded(_, _, reason):
            return f"unfunded: {reason}"
        case verdicts.Uneconomic(cost, benefit):
            return f"uneconomic: costs {usd_text(cost)}, saves {usd_text(benefit)}"
        case verdicts.CoolingDown(until):
            return f"cooling down, {age_text(max(until - now, 0))} left"
        case verdicts.Blocked(reason):
            return f"blocked: {reason}"
        case verdicts.Unknown(reason):
            return f"unknown: {reason}"
        case verdicts.NotProtected():
            return "not protected: not enrolled in the guard"


VERDICT_STYLE: Mapping[type[Verdict], str] = {
    verdicts.Healthy: "green",
    verdicts.Watching: "cyan",
    verdicts.Rescue: "bold yellow",
    verdicts.Unfunded: "bold red",
    verdicts.Uneconomic: "yellow",
    verdicts.CoolingDown: "yellow",
    verdicts.Blocked: "bold red",
    verdicts.Unknown: "bold red",
    verdicts.NotProtected: "red",
}


def health_style(health: Wad, policy: Policy, id: SubaccountId) -> str:
    settings = policy.subaccounts.get(id)
    if settings is None or health >= INFINITE_HEALTH:
        return ""
    limits = settings.thresholds
    if health < limits.critical:
        return "bold red"
    if health < limits.trigger:
        return "yellow"
    return "green" if health >= limits.target else ""


def liquidation_price(subaccount: Subaccount) -> Wad | None:
    """The price of its one collateral, in its unit of account, at which it is liquidated, rounded up; None when that is
    no single number (no debt, several collaterals, unknown)."""
    priced = [line for line in subaccount.collateral if line.amount_raw > 0]
    if len(priced) != 1 or not subaccount.has_debt or isinstance(subaccount.reading, Unknown):
        return None
    risk = subaccount.margin.risk()
    if risk.collateral_value == 0:
        return None
    return -(-priced[0].price * risk.debt_value // risk.collateral_value)


def nearest_first(snapshot: Snapshot, policy: Policy) -> list[Subaccount]:
    """Nearest to liquidation first, by cushion; what is unknown comes before everything."""

    def nearness(subaccount: Subaccount) -> tuple[int, Wad, str]:
        if isinstance(subaccount.reading, Unknown):
            return (0, 0, str(subaccount.id))
        settings = policy.subaccounts.get(subaccount.id)
        health = subaccount.margin.risk().health_factor
        return (1, cushion(health, settings.shock_bps if settings else 10_000), str(subaccount.id))

    return sorted(snapshot.subaccounts, key=nearness)


def status_table(
    snapshot: Snapshot, policy: Policy, plan: Plan, spare_raw: Mapping[SubaccountId, Mapping[Address, int]]
) -> Table:
    """Every subaccount of the wallet, nearest to liquidation first."""
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    for title in ("subaccount", "health", "collateral", "debt", "price → liquidated at", "can spare", "verdict"):
        table.add_column(title, justify="left" if title in {"subaccount", "verdict"} else "right", overflow="fold")
    for subaccount in nearest_first(snapshot, policy):
        decided = plan.verdicts[subaccount.id]
        style = VERDICT_STYLE[type(decided)]
        table.add_row(
            name_of(subaccount),
            _health_cell(subaccount, policy),
            "\n".join(amount_text(line.amount_raw, line.token) for line in subaccount.collateral) or "none",
            amount_text(subaccount.debt.amount_raw, subaccount.debt.token) if subaccount.debt else "none",
            _price_cell(subaccount),
            "\n".join(_spare_lines(subaccount, spare_raw.get(subaccount.id, {}))) or "nothing",
            Text(verdict_text(decided, snapshot.block.timestamp), style=style),
        )
    return table


def _health_cell(subaccount: Subaccount, policy: Policy) -> Text:
    if isinstance(subaccount.reading, Unknown):
        return Text("unknown", style="bold red")
    health = subaccount.margin.risk().health_factor
    return Text(health_text(health), style=health_style(health, policy, subaccount.id))


def _price_cell(subaccount: Subaccount) -> str:
    at = liquidation_price(subaccount)
    if at is None or subaccount.unit is None:
        return "-"
    price = next(line.price for line in subaccount.collateral if line.amount_raw > 0)
    return f"{number_text(price / WAD)} → {number_text(at / WAD)} {subaccount.unit.symbol}"


def _spare_lines(subaccount: Subaccount, spare: Mapping[Address, int]) -> Sequence[str]:
    return [
        amount_text(spare[line.token.address], line.token)
        for line in subaccount.collateral
        if spare.get(line.token.address, 0) > 0
    ]


def rescue_paragraph(rescue: Rescue, snapshot: Snapshot, policy: Policy) -> str:
    """Who, why now, from where, how much, and what it leaves behind."""
    recipient = snapshot.subaccount(rescue.recipient)
    limits = policy.subaccounts[rescue.recipient].thresholds
    crossed = ("critical", limits.critical) if rescue.effect.before < limits.critical else ("trigger", limits.trigger)
    sources = ", ".join(
        f"{amount_text(transfer.amount_raw, transfer.token)} from {name_of(snapshot.subaccount(transfer.donor))}"
        for transfer in rescue.transfers
    )
    why = (
        f"Rescue {name_of(recipient)}: health {health_text(rescue.effect.before)} is below its {crossed[0]} of "
        f"{health_text(crossed[1])}."
    )
    outcome = (
        f"{_effect_sentence('It', rescue.effect)}; the guard lets it happen only if it ends at "
        f"{health_text(rescue.min_health_after)} or more."
    )
    donors = [
        f"{_effect_sentence(f'Donor {name_of(snapshot.subaccount(donor.subaccount))}', donor)}."
        for donor in rescue.donors
    ]
    sentences = [why, f"Move {sources}.", outcome, *donors]
    if rescue.stage is Stage.LAST_STAND:
        sentences.append("This is a last stand: donors go below their floor and share their cushion with it.")
    if rescue.loss_avoided_usd is not None:
        sentences.append(f"A liquidation would take about {usd_text(rescue.loss_avoided_usd)}.")
    return " ".join(sentences)


def _effect_sentence(who: str, effect: Effect) -> str:
    after_shock = f"{health_text(effect.after_shock)} after its shock"
    return f"{who} goes {health_text(effect.before)} → {health_text(effect.after)} ({after_shock})"


def spares(snapshot: Snapshot, policy: Policy) -> Mapping[SubaccountId, Mapping[Address, int]]:
    """What each subaccount could give now without going below its floor, raw units by token."""
    return {
        subaccount.id: {
            line.token.address: spare_raw(subaccount, line.token.address, settings.thresholds.floor)
            for line in subaccount.collateral
        }
        for subaccount in snapshot.subaccounts
        if (settings := policy.subaccounts.get(subaccount.id)) is not None
    }
