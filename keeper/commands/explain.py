"""`keeper explain SUBACCOUNT`: every number that leads to its verdict, and where it comes from."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from rich.console import RenderableType

from keeper.commands.answer import Answer, Verbatim
from keeper.commands.view import View, by_hand_document, held_back_lines, view
from keeper.config import load_config
from keeper.core.amounts import amount_text
from keeper.core.disputes import opinion, prices_of, worst_of
from keeper.core.economics import IMMINENT_BPS
from keeper.core.policy import SubaccountPolicy, Thresholds, enforced
from keeper.core.risk import Risk, cushion, survivable_fall
from keeper.core.snapshot import CollateralLine, Subaccount, Unknown
from keeper.core.spare import spare_raw
from keeper.core.units import BPS, WAD
from keeper.core.urgency import INCLUSIONS, inclusion_seconds, limits_now, seconds_to_liquidation, volatility_of
from keeper.core.verdict import Healthy, Verdict, Watching
from keeper.documents import Document, block_document, feed_document, second_document, subaccount_document
from keeper.errors import ConfigError
from keeper.protocols.base import Source
from keeper.protocols.wallet import NAME as WALLET
from keeper.report import (
    age_text,
    debts_text,
    health_text,
    liquidation_price_of,
    name_of,
    number_text,
    percent_text,
    reading_text,
    shortage_text,
    verdict_text,
    within_text,
)
from keeper.session import open_session


def explain(config_path: Path, subaccount: str) -> Answer:
    return asyncio.run(_explain(config_path, subaccount))


async def _explain(config_path: Path, wanted: str) -> Answer:
    async with open_session(load_config(config_path)) as session:
        seen = await view(session)
    subaccount = find(wanted, seen)
    settings = session.policy.subaccounts[subaccount.id]
    parts: list[RenderableType] = [f"{name_of(subaccount)} at block {seen.snapshot.block.number}", ""]
    if isinstance(subaccount.reading, Unknown):
        parts.append(f"It is unknown: {subaccount.reading.reason}.")
    else:
        parts += [*_numbers(subaccount, settings), *_times(subaccount, seen)]
    parts += [f"Note: {note}." for note in subaccount.notes]
    parts += ["", *_prices(subaccount, seen), *_sources(subaccount, seen)]
    parts += ["", f"thresholds: {thresholds_text(subaccount, settings)}"]
    verdict = seen.plan.verdicts[subaccount.id]
    parts += ["", f"verdict: {verdict_text(verdict)}{_meaning(verdict, subaccount, seen)}", *held_back_lines(seen)]
    for one in seen.by_hand:
        if one.subaccount == subaccount.id:
            parts += ["", one.says, *map(Verbatim, one.cast_lines(seen.session.config.guard.owner))]
    return Answer(parts, _document(subaccount, settings, seen))


def find(wanted: str, seen: View) -> Subaccount:
    """The one subaccount whose id, or label, begins so, or is shortened so. Raises ConfigError for none or several."""
    beginning, _, end = wanted.strip().lower().partition("…")
    all_of_them = seen.snapshot.subaccounts
    found = [each for each in all_of_them if wanted.lower() in (str(each.id).lower(), each.label.lower())] or [
        each
        for each in all_of_them
        if (str(each.id).lower().startswith(beginning) and str(each.id).lower().endswith(end))
        or each.label.lower().startswith(beginning)
    ]
    match found:
        case [only]:
            return only
        case []:
            known = ", ".join(name_of(each) for each in all_of_them)
            raise ConfigError(f"No subaccount is called {wanted!r}; there are {known}.")
        case _:
            raise ConfigError(f"{wanted!r} could be {' or '.join(map(name_of, found))}; write more of it.")


def thresholds_text(subaccount: Subaccount, settings: SubaccountPolicy) -> str:
    """Where its thresholds come from; a wallet, which is nothing but a donor, has none."""
    return "none, for a wallet cannot owe anything" if subaccount.id.protocol == WALLET else settings.why


def _numbers(subaccount: Subaccount, settings: SubaccountPolicy) -> list[RenderableType]:
    risk = subaccount.margin.risk()
    lines: list[RenderableType] = [collateral_sentence(subaccount, line) for line in subaccount.collateral]
    if not subaccount.has_debt or subaccount.unit is None:
        return [*lines, "It owes nothing, so nothing in it can be liquidated."]
    unit = subaccount.unit.symbol
    limits = settings.thresholds
    health = risk.health_factor
    lines += [
        f"It owes {debts_text(subaccount)}, interest to this block included.",
        (
            f"Collateral that counts {number_text(risk.collateral_value / WAD)} {unit} / debt "
            f"{number_text(risk.debt_value / WAD)} {unit} = health {health_text(health)}."
        ),
    ]
    if subaccount.forced_liquidation is not None:
        lines.append(f"It can be liquidated now, whatever its health: {subaccount.forced_liquidation}.")
        return [*lines, f"It {shortage_text(subaccount, settings)}."]
    if risk.is_liquidatable:
        lines.append("It can be liquidated now: repay or deposit at once.")
    needs = shortage_text(subaccount, settings)
    if needs:
        lines.append(f"It {needs}.")
    lines += [
        (
            f"It survives a fall of {percent_text(survivable_fall(health) * BPS // WAD)} and is tested against "
            f"{percent_text(settings.shock_bps)}: a cushion of {health_text(cushion(health, settings.shock_bps))}."
        ),
        *(_liquidation_sentence(subaccount, line, unit) for line in subaccount.collateral if line.amount_raw),
    ]
    lines.append(
        f"It is critical below {health_text(limits.critical)}, due for a rescue below {health_text(limits.trigger)}, "
        f"brought to {health_text(limits.target)}, gives down to {health_text(limits.floor)} and in a last stand never "
        f"below {health_text(limits.hard_floor)}."
    )
    lines += [_spare_sentence(subaccount, line, settings) for line in subaccount.collateral if line.amount_raw]
    return lines


def _times(subaccount: Subaccount, seen: View) -> list[str]:
    """How soon it may be liquidated, what that rests on, and what it does to its thresholds."""
    if not subaccount.has_debt:
        return []
    policy, history, snapshot = seen.session.policy, seen.history, seen.snapshot
    volatility = volatility_of(subaccount, policy, history)
    seconds = seconds_to_liquidation(subaccount, volatility.bps, policy.inclusion.rate_margin)
    inclusion = inclusion_seconds(policy, history, snapshot.block)
    own = enforced(policy.subaccounts[subaccount.id].thresholds, snapshot.guard, subaccount.guard_index)
    limits = _limits(subaccount, seen)
    lines = [
        (
            f"Prices move {percent_text(volatility.bps)} a day ({volatility.source.value}): the chance of a "
            f"liquidation, by that, by a jump or by interest, reaches {percent_text(IMMINENT_BPS)} "
            f"{within_text(seconds)}."
        ),
        (
            f"A transaction takes about {age_text(inclusion)} ([chain] inclusion_blocks, how far the base fee rose "
            f"within the hour, the last transactions): who may be liquidated within {INCLUSIONS} times that is "
            "critical."
        ),
    ]
    if limits != own:
        lines.append(
            f"So it is now critical below {health_text(limits.critical)}, due below {health_text(limits.trigger)}, "
            f"brought to {health_text(limits.target)}, and gives down to {health_text(limits.floor)}."
        )
    return lines


def _limits(subaccount: Subaccount, seen: View) -> Thresholds:
    policy = seen.session.policy
    return limits_now(subaccount, seen.snapshot, policy, seen.history, is_widened=seen.plan.is_widened)


def _meaning(verdict: Verdict, subaccount: Subaccount, seen: View) -> str:
    """Half a sentence for the verdicts that have none of their own."""
    if not isinstance(verdict, Healthy | Watching):
        return ""
    if not subaccount.has_debt:
        return ": it owes nothing"
    limits = _limits(subaccount, seen)
    then = f"{health_text(subaccount.margin.risk({}, seen.session.policy.inclusion).health_factor)} at inclusion"
    if isinstance(verdict, Healthy):
        return f": {then} is no less than its target of {health_text(limits.target)}"
    trigger, target = health_text(limits.trigger), health_text(limits.target)
    return f": {then} is between its trigger of {trigger} and its target of {target}"


def collateral_sentence(subaccount: Subaccount, line: CollateralLine) -> str:
    amount = amount_text(line.amount_raw, line.token)
    if subaccount.unit is None or line.price == 0:
        is_all = line.movable_raw_max == line.amount_raw > 0
        movable = "all" if is_all else amount_text(line.movable_raw_max, line.token)
        return f"It holds {amount}, of which {movable} may be moved."
    price = f"{number_text(line.price / WAD)} {subaccount.unit.symbol}"
    counted_bps = round(line.maintenance_weight * 10**line.token.decimals * BPS / (line.price * WAD))
    return f"It holds {amount}, at {price} each, of which {percent_text(counted_bps)} counts."


def _liquidation_sentence(subaccount: Subaccount, line: CollateralLine, unit: str) -> str:
    symbol, at = line.token.symbol, liquidation_price_of(subaccount, line)
    if at is None:
        return f"No price of {symbol} liquidates it: it does not count."
    if at == 0:
        return f"No price of {symbol} alone liquidates it: the rest covers the debt."
    others = ", the others' prices staying as they are" if len(subaccount.collateral) > 1 else ""
    return f"It is liquidated when {symbol} falls below {number_text(at / WAD)} {unit}{others}."


def _spares(subaccount: Subaccount, line: CollateralLine, settings: SubaccountPolicy) -> dict[str, int]:
    """What could leave at each line that a donor may be held to, raw units."""
    limits = settings.thresholds
    return {
        "maintenance": spare_raw(subaccount, line.token.address, WAD, is_let_out=False),
        "initial": spare_raw(subaccount, line.token.address, 0),
        "hard_floor": spare_raw(subaccount, line.token.address, limits.hard_floor),
        "floor": spare_raw(subaccount, line.token.address, limits.floor),
    }


def _spare_sentence(subaccount: Subaccount, line: CollateralLine, settings: SubaccountPolicy) -> str:
    if subaccount.cannot_give is not None:
        return f"It can give no {line.token.symbol}: {subaccount.cannot_give}."
    spare = _spares(subaccount, line, settings)
    return (
        f"Before its floor it could give {amount_text(spare['floor'], line.token)}, before its hard floor "
        f"{amount_text(spare['hard_floor'], line.token)}, before the protocol refuses "
        f"{amount_text(spare['initial'], line.token)}, before it is liquidated "
        f"{amount_text(spare['maintenance'], line.token)}."
    )


def _prices(subaccount: Subaccount, seen: View) -> list[RenderableType]:
    now = seen.snapshot.block.timestamp
    feeds = [feed for feed in seen.snapshot.feeds if feed.feed in subaccount.feeds]
    lines: list[RenderableType] = [f"prices: {reading_text(subaccount.reading)}"]
    for feed in feeds:
        heartbeat = "unknown" if feed.heartbeat_seconds is None else age_text(feed.heartbeat_seconds)
        lines.append(
            f"  {feed.name} ({feed.feed}) answers {number_text(feed.answer / 10**feed.decimals)}, "
            f"{age_text(now - feed.updated_at)} old, heartbeat {heartbeat}"
        )
    lines += _second_opinions(subaccount, seen)
    return lines


def _second_opinions(subaccount: Subaccount, seen: View) -> Iterator[str]:
    """What others say of its prices, and how it stands if they are right."""
    unit = "USD" if subaccount.unit is None else subaccount.unit.symbol
    for token, price in prices_of(subaccount).items():
        for second in seen.snapshot.second_prices:
            if second.token.address != token.address or not subaccount.has_debt:
                continue
            other = opinion(second, subaccount, seen.snapshot)
            said = "says nothing" if other is None else f"says {number_text(other / WAD)} {unit}"
            why = f": {second.problem}" if second.problem else ""
            own = f"its oracle {number_text(price / WAD)}"
            yield f"  {second.source} {said} for {token.symbol}, {own}{why}"
    dispute = seen.plan.disputes.get(subaccount.id)
    if dispute is not None:
        worst = health_text(worst_of(subaccount, dispute).margin.risk().health_factor)
        yield f"  disputed: {dispute}."
        yield f"  It is judged by the worst of it, a health of {worst}, and only those without debt give to it."
    if seen.snapshot.sequencer_problem is not None:
        yield f"  {seen.snapshot.sequencer_problem}: nothing leaves an account with debt"


def _read_from(subaccount: Subaccount, seen: View) -> list[Source]:
    return [source for adapter in seen.session.portfolio.adapters for source in adapter.sources(subaccount.id)]


def _sources(subaccount: Subaccount, seen: View) -> list[RenderableType]:
    lines: list[RenderableType] = [f"read at block {seen.snapshot.block.number} ({seen.snapshot.block.hash}):"]
    lines += [f"  {source.what}: {source.contract} {source.function}" for source in _read_from(subaccount, seen)]
    return lines


def _risk_document(risk: Risk) -> Document:
    return {
        "collateral_value_wad": str(risk.collateral_value),
        "debt_value_wad": str(risk.debt_value),
        "initial_collateral_value_wad": str(risk.initial_collateral_value),
        "initial_debt_value_wad": str(risk.initial_debt_value),
    }


def _urgency_document(subaccount: Subaccount, seen: View) -> Document:
    policy, history = seen.session.policy, seen.history
    volatility = volatility_of(subaccount, policy, history)
    limits = _limits(subaccount, seen)
    return {
        "volatility_bps_per_day": volatility.bps,
        "volatility_source": volatility.source.name.lower(),
        "seconds_to_liquidation": seconds_to_liquidation(subaccount, volatility.bps, policy.inclusion.rate_margin),
        "inclusion_seconds": inclusion_seconds(policy, history, seen.snapshot.block),
        "critical": str(limits.critical),
        "trigger": str(limits.trigger),
        "target": str(limits.target),
        "floor": str(limits.floor),
    }


def _document(subaccount: Subaccount, settings: SubaccountPolicy, seen: View) -> Document:
    now = seen.snapshot.block.timestamp
    spare = {line.token.address: _spares(subaccount, line, settings) for line in subaccount.collateral}
    floor = {token: amounts["floor"] for token, amounts in spare.items()}
    verdict = seen.plan.verdicts[subaccount.id]
    document = {
        "block": block_document(seen.snapshot),
        "mode": seen.mode.value,
        "quorum_problem": seen.quorum_problem,
        **subaccount_document(subaccount, settings, verdict, floor, seen.plan.disputes.get(subaccount.id)),
        "feeds": [feed_document(feed, now) for feed in seen.snapshot.feeds if feed.feed in subaccount.feeds],
        "second_prices": [second_document(second) for second in seen.snapshot.second_prices],
        "sources": [
            {"what": source.what, "contract": source.contract, "function": source.function}
            for source in _read_from(subaccount, seen)
        ],
        "liquidation_prices_wad": {
            line.token.address: None if (at := liquidation_price_of(subaccount, line)) is None else str(at)
            for line in subaccount.collateral
        },
        "spare_raw": {token: {at: str(raw) for at, raw in amounts.items()} for token, amounts in spare.items()},
        "by_hand": [one for one in by_hand_document(seen) if one["subaccount"] == str(subaccount.id)],
    }
    if not isinstance(subaccount.reading, Unknown):
        document["risk"] = _risk_document(subaccount.margin.risk())
        document["urgency"] = _urgency_document(subaccount, seen)
    return document
