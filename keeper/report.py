"""Numbers, tables and sentences for people.

Floats are allowed here: nothing that is printed decides anything. Addresses are shortened on screens and whole in
JSON; amounts carry their symbol; a time is told relative and absolute.
"""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from keeper.core import verdict as verdicts
from keeper.core.amounts import amount_text
from keeper.core.plan import Plan
from keeper.core.policy import Policy, SubaccountPolicy
from keeper.core.risk import cushion
from keeper.core.snapshot import (
    CollateralLine,
    Disputed,
    Fresh,
    FreshnessUnverified,
    Reading,
    Snapshot,
    Stale,
    Subaccount,
    SubaccountId,
    Unknown,
)
from keeper.core.spare import shortage_raw, spare_raw
from keeper.core.units import INFINITE_HEALTH, WAD, Address, Wad
from keeper.core.urgency import AHEAD_SECONDS_MAX
from keeper.core.verdict import Verdict

SIGNIFICANT = 6
DECIMALS_MAX = 18
"""The smallest unit that common tokens have."""
_LONG_ID = re.compile(r"([a-z]+:0x[0-9a-f]{4})[0-9a-f]{56}([0-9a-f]{4})")


def health_text(health: Wad) -> str:
    """Four decimals, rounded down, so that 0.99999 never prints as 1.0000."""
    if health >= INFINITE_HEALTH:
        return "no debt"
    return f"{health // 10**14 / 10**4:.4f}"


def number_text(value: float) -> str:
    """Six significant digits, whole numbers whole, never an exponent: `49,581.4`, `0.0123457`."""
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value))) + 1
    text = f"{value:,.{min(max(SIGNIFICANT - magnitude, 0), DECIMALS_MAX)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def usd_text(value: Wad) -> str:
    """Cents only where they matter: below a hundred dollars."""
    dollars = value / WAD
    sign = "-" if dollars < 0 else ""
    return f"{sign}${abs(dollars):,.2f}" if abs(dollars) < 100 else f"{sign}${abs(dollars):,.0f}"


def percent_text(bps: int) -> str:
    return f"{bps / 100:.2f}".rstrip("0").rstrip(".") + " %"


def short(address_or_id: str) -> str:
    """`0x3a85…1b2c`; whatever is short already stays whole."""
    prefix, colon, rest = address_or_id.rpartition(":")
    if rest.startswith("0x") and len(rest) > 14:
        rest = f"{rest[:6]}…{rest[-4:]}"
    return f"{prefix}{colon}{rest}"


def with_short_ids(sentence: str) -> str:
    """A sentence with its subaccounts' ids shortened; hashes of transactions stay whole, to be looked up."""
    return _LONG_ID.sub(r"\1…\2", sentence)


def counted(count: int, noun: str) -> str:
    """`1 batch`, `2 batches`, `3 failures`."""
    plural = noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")
    return f"{count:,} {noun if count == 1 else plural}"


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


def within_text(seconds: int | None) -> str:
    """`within 8 h`; for None `in more than 30 d`."""
    return f"in more than {age_text(AHEAD_SECONDS_MAX)}" if seconds is None else f"within {age_text(seconds)}"


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
        case Disputed(reason):
            return f"disputed: {reason}"
        case Unknown(reason):
            return f"unknown: {reason}"


def verdict_text(verdict: Verdict) -> str:
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
        case verdicts.Uneconomic(cost, benefit, multiple):
            return (
                f"uneconomic: costs {usd_text(cost)}, is expected to save {usd_text(benefit)} and would have to save "
                f"more than {multiple} times its cost"
            )
        case verdicts.Waiting(until):
            return f"waiting: until {datetime.fromtimestamp(until, UTC):%H:%M:%S} UTC at most, for a fuller batch"
        case verdicts.CoolingDown(until):
            return f"cooling down until {datetime.fromtimestamp(until, UTC):%H:%M:%S} UTC"
        case verdicts.Blocked(reason):
            return f"blocked: {reason}"
        case verdicts.Unknown(reason):
            return f"unknown: {reason}"
        case verdicts.NotProtected(reason):
            return f"not protected: {reason}"


def verdict_word(verdict: Verdict) -> str:
    """The verdict alone, for a table."""
    match verdict:
        case verdicts.CoolingDown():
            return "cooling down"
        case verdicts.NotProtected():
            return "not protected"
        case _:
            return verdict_text(verdict).partition(":")[0]


VERDICT_STYLE: Mapping[type[Verdict], str] = {
    verdicts.Healthy: "green",
    verdicts.Watching: "cyan",
    verdicts.Rescue: "bold yellow",
    verdicts.Unfunded: "bold red",
    verdicts.Uneconomic: "yellow",
    verdicts.Waiting: "yellow",
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
    return liquidation_price_of(subaccount, priced[0]) if len(priced) == 1 else None


def liquidation_price_of(subaccount: Subaccount, line: CollateralLine) -> Wad | None:
    """The price of one collateral, the others' staying as they are, at which it is liquidated, rounded up; 0 when the
    others alone cover the debt, None without debt, without any of it, unknown, or liquidated at any price."""
    if not subaccount.has_debt or not line.amount_raw or isinstance(subaccount.reading, Unknown):
        return None
    if subaccount.forced_liquidation is not None:
        return None
    risk = subaccount.margin.risk()
    without = subaccount.margin.risk({line.token.address: -line.amount_raw})
    counted_of_it = risk.collateral_value - without.collateral_value
    if counted_of_it <= 0:
        return None
    needed = max(risk.debt_value - without.collateral_value, 0)
    return -(-line.price * needed // counted_of_it)


def nearest_first(snapshot: Snapshot, policy: Policy) -> list[Subaccount]:
    """Nearest to liquidation first, by cushion, below the line by health; what is unknown comes before everything."""

    def nearness(subaccount: Subaccount) -> tuple[int, Wad, Wad, str]:
        if isinstance(subaccount.reading, Unknown):
            return (0, 0, 0, str(subaccount.id))
        settings = policy.subaccounts.get(subaccount.id)
        health = subaccount.margin.risk().health_factor
        if subaccount.forced_liquidation is not None:
            return (1, 0, 0, str(subaccount.id))
        return (1, cushion(health, settings.shock_bps if settings else 10_000), health, str(subaccount.id))

    return sorted(snapshot.subaccounts, key=nearness)


def status_table(
    snapshot: Snapshot, policy: Policy, plan: Plan, spare_raw: Mapping[SubaccountId, Mapping[Address, int]]
) -> Table:
    """Every subaccount of the wallet, nearest to liquidation first; narrow enough for 80 columns.

    A verdict is one word here; `reasons` has the rest of it.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("subaccount", no_wrap=True)
    for title in ("health", "holds\nowes", "price\nliq. at", "can spare"):
        table.add_column(title, justify="right", overflow="fold")
    table.add_column("verdict", overflow="fold")
    for subaccount in nearest_first(snapshot, policy):
        decided = plan.verdicts[subaccount.id]
        table.add_row(
            _name_cell(subaccount),
            _health_cell(subaccount, policy),
            "\n".join(_amount_lines(subaccount)),
            _price_cell(subaccount),
            "\n".join(_spare_lines(subaccount, spare_raw.get(subaccount.id, {}))) or "nothing",
            Text(verdict_word(decided), style=VERDICT_STYLE[type(decided)]),
        )
    return table


def reasons(snapshot: Snapshot, plan: Plan) -> list[str]:
    """A line for every verdict of which a word does not say all, in the snapshot's order."""
    lines: list[str] = []
    for id, decided in plan.verdicts.items():
        name, said = name_of(snapshot.subaccount(id)), verdict_text(decided)
        if isinstance(decided, verdicts.NotProtected):
            lines.append(f"{name} is {said}")
        elif said != verdict_word(decided):
            lines.append(f"{name}: {said}")
    return lines


def _name_cell(subaccount: Subaccount) -> Text:
    cell = Text(subaccount.label)
    return cell if subaccount.label == str(subaccount.id) else cell.append(f"\n{short(str(subaccount.id))}", "dim")


def _amount_lines(subaccount: Subaccount) -> list[str]:
    held = [amount_text(line.amount_raw, line.token) for line in subaccount.collateral if line.amount_raw]
    return [*(held or ["nothing"]), *(f"owes {amount_text(debt.amount_raw, debt.token)}" for debt in subaccount.debts)]


def debts_text(subaccount: Subaccount) -> str:
    """`1,000 USDC and 2 WETH`."""
    return " and ".join(amount_text(debt.amount_raw, debt.token) for debt in subaccount.debts)


def forced_text(subaccount: Subaccount) -> str:
    """`needs 1,000 USDC repaid`: what anybody may liquidate whatever the health, rounded up; empty if nothing."""
    forced = [
        amount_text(debt.amount_raw, debt.token, is_rounded_up=True) for debt in subaccount.debts if debt.is_forced
    ]
    return f"needs {' and '.join(forced)} repaid: no collateral keeps it from being liquidated" if forced else ""


def _health_cell(subaccount: Subaccount, policy: Policy) -> Text:
    if isinstance(subaccount.reading, Unknown):
        return Text("unknown", style="bold red")
    health = subaccount.margin.risk().health_factor
    if subaccount.forced_liquidation is not None:
        return Text(health_text(health), style="bold red")
    return Text(health_text(health), style=health_style(health, policy, subaccount.id))


def _price_cell(subaccount: Subaccount) -> str:
    """Both in the subaccount's unit of account, which its label names."""
    at = liquidation_price(subaccount)
    if at is None:
        return ""
    price = next(line.price for line in subaccount.collateral if line.amount_raw > 0)
    return f"{number_text(price / WAD)}\n{number_text(at / WAD)}"


def _spare_lines(subaccount: Subaccount, spare: Mapping[Address, int]) -> Sequence[str]:
    return [
        amount_text(spare[line.token.address], line.token)
        for line in subaccount.collateral
        if spare.get(line.token.address, 0) > 0
    ]


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


def shortages(subaccount: Subaccount, settings: SubaccountPolicy | None) -> Mapping[Address, int]:
    """What it lacks to its target, raw units of each collateral, any one of which suffices; empty if nothing does."""
    if settings is None or not subaccount.has_debt or subaccount.forced_liquidation is not None:
        return {}
    target, tokens = settings.thresholds.target, [line.token.address for line in subaccount.collateral]
    lacking = ((token, shortage_raw(subaccount, token, target)) for token in tokens)
    return {token: amount for token, amount in lacking if amount}


def shortage_sentences(snapshot: Snapshot, policy: Policy) -> list[str]:
    """`… needs 1.2 WETH or 0.05 WBTC more to reach its target of 1.2500`, one for each that lacks something."""
    needs = ((each, shortage_text(each, policy.subaccounts.get(each.id))) for each in snapshot.subaccounts)
    return [f"{name_of(subaccount)} {text}" for subaccount, text in needs if text]


def shortage_text(subaccount: Subaccount, settings: SubaccountPolicy | None) -> str:
    """`needs 1.2 WETH or 0.05 WBTC more to reach its target of 1.2500`; empty if it lacks nothing."""
    if subaccount.forced_liquidation is not None:
        return forced_text(subaccount)
    lacking = shortages(subaccount, settings)
    amounts = [
        amount_text(lacking[line.token.address], line.token, is_rounded_up=True)
        for line in subaccount.collateral
        if line.token.address in lacking
    ]
    if settings is None or not amounts:
        return ""
    return f"needs {' or '.join(amounts)} more to reach its target of {health_text(settings.thresholds.target)}"
