"""`keeper plan`: what would be sent now, why, and what it costs."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

from rich.console import RenderableType
from rich.padding import Padding

from keeper.commands.answer import THERE_IS_SOMETHING_TO_DO, Answer
from keeper.commands.owner_calls import Form
from keeper.commands.returning import plan_returning
from keeper.commands.view import (
    View,
    as_spelt,
    by_hand_document,
    by_hand_lines,
    held_back_lines,
    symbols_of,
    view,
    with_companions,
)
from keeper.config import Config, load_config
from keeper.config_values import parse_bps, parse_wei
from keeper.core.amounts import amount_text, figure
from keeper.core.considered import Rejected, RejectedWay, rejected, rejected_ways
from keeper.core.economics import fee_ceiling_wei, gas_cost_usd, plan_bytes, plan_gas
from keeper.core.plan import Rescue
from keeper.core.snapshot import Snapshot
from keeper.core.snapshot import Unknown as UnknownReading
from keeper.core.units import BPS
from keeper.core.verdict import Blocked, Unfunded, Unknown
from keeper.documents import Document, plan_document
from keeper.errors import ConfigError
from keeper.pausing import Mode
from keeper.report import (
    health_text,
    name_of,
    nearest_first,
    number_text,
    reasons,
    usd_text,
)
from keeper.report_rescue import rescue_sentences
from keeper.session import open_session

_CHANGE = re.compile(r"\s*([A-Za-z0-9._-]+)\s*=\s*([+-]?)\s*([0-9.]+\s*%)\s*")


def plan(config_path: Path, *, shock: str | None, gas: str | None, is_return: bool, form: Form) -> Answer:
    if is_return and (shock is not None or gas is not None):
        raise ConfigError("--return looks at the chain as it is: leave --shock and --gas out.")
    if is_return:
        return plan_returning(config_path, form)
    if form != "list":
        raise ConfigError("--form is for --return: what the keeper itself would send, nobody has to sign.")
    changes_bps = {} if shock is None else parse_shock(shock)
    return asyncio.run(_plan(config_path, changes_bps, None if gas is None else parse_gas(gas)))


def parse_gas(text: str) -> int:
    """`200gwei` as wei. Raises ConfigError for anything else."""
    try:
        return parse_wei(text)
    except ValueError as problem:
        raise ConfigError(f"--gas {text!r}: {problem}.") from None


def parse_shock(text: str, option: str = "--shock") -> dict[str, int]:
    """`WETH=-12%,USDC=-1%` as basis points by symbol. Raises ConfigError for anything else."""
    changes: dict[str, int] = {}
    for part in filter(str.strip, text.split(",")):
        match = _CHANGE.fullmatch(part)
        if match is None:
            raise ConfigError(f"{option} {part.strip()!r} is not of the form WETH=-12%.")
        try:
            size = parse_bps(match[3])
        except ValueError as problem:
            raise ConfigError(f"{option} {part.strip()!r}: {problem}.") from None
        if match[1] in changes:
            raise ConfigError(f"{option} names {match[1]} twice.")
        changes[match[1]] = -size if match[2] == "-" else size
        if changes[match[1]] <= -BPS:
            raise ConfigError(f"{option} {part.strip()!r}: a price cannot fall by 100 % or more.")
    if not changes:
        raise ConfigError(f"{option} is empty; say for example WETH=-12%.")
    return changes


async def _plan(config_path: Path, changes_bps: dict[str, int], gas_price_wei: int | None) -> Answer:
    async with open_session(load_config(config_path)) as session:
        changes_bps = as_spelt("--shock", changes_bps, symbols_of(session))
        changes_bps = with_companions(changes_bps, session.portfolio.pairs())
        seen = await view(session, changes_bps, gas_price_wei)
    document: Document = {
        **plan_document(seen.plan, seen.snapshot),
        "mode": seen.mode.value,
        "quorum_problem": seen.quorum_problem,
        "assumed_changes_bps": changes_bps,
        "gas": _gas_document(seen),
        "considered": {
            str(rescue.recipient): [_rejected_document(each) for each in _rejected(rescue, seen)]
            for rescue in seen.plan.rescues
        },
        "considered_ways": {
            str(rescue.recipient): [_rejected_way_document(each) for each in _rejected_ways(rescue, seen)]
            for rescue in seen.plan.rescues
        },
        "by_hand": by_hand_document(seen),
    }
    return Answer(_sentences(seen, changes_bps), document, exit_code=_exit_code(seen))


def _exit_code(seen: View) -> int:
    """Fine only when nobody needs what cannot be done."""
    if seen.plan.rescues:
        return THERE_IS_SOMETHING_TO_DO
    return int(any(isinstance(decided, Blocked | Unfunded | Unknown) for decided in seen.plan.verdicts.values()))


def _sentences(seen: View, changes_bps: Mapping[str, int]) -> list[RenderableType]:
    snapshot, plan = seen.snapshot, seen.plan
    assumed = ", ".join(f"{symbol} {bps / 100:+.10g} %" for symbol, bps in changes_bps.items())
    at = f"At block {snapshot.block.number}" + (f", assuming {assumed}" if assumed else "")
    lines: list[RenderableType] = [f"{at}:" if plan.rescues else f"{at}: nothing to send. {_nearest(seen)}"]
    for rescue in plan.rescues:
        first, *others = rescue_sentences(rescue, snapshot, seen.session.policy)
        others += [_rejected_sentence(each, snapshot) for each in _rejected(rescue, seen)]
        others += [rejected_way_sentence(each) for each in _rejected_ways(rescue, seen)]
        lines += ["", first, *(Padding(other, (0, 0, 0, 2), expand=False) for other in others)]
    said = [*reasons(snapshot, plan), *plan.notes]
    said += [seen.journal_problem] if seen.journal_problem is not None else []
    lines += ["", *said] if said else []
    lines += [*held_back_lines(seen), *by_hand_lines(seen)]
    if plan.rescues:
        lines += ["", _cost_sentence(seen)]
        if seen.mode is Mode.PAUSED:
            lines.append("The keeper is paused: nothing of this is sent until `keeper resume`.")
    return lines


def _rejected(rescue: Rescue, seen: View) -> tuple[Rejected, ...]:
    return rejected(rescue, seen.plan, seen.snapshot, seen.session.policy, seen.history)


def _rejected_sentence(one: Rejected, snapshot: Snapshot) -> str:
    could = f"it could give {amount_text(one.spare_raw, one.token)}, and " if one.spare_raw else ""
    return f"Not from {name_of(snapshot.subaccount(one.subaccount))}: {could}{one.reason}."


def _rejected_ways(rescue: Rescue, seen: View) -> tuple[RejectedWay, ...]:
    return rejected_ways(rescue, seen.plan, seen.snapshot, seen.session.policy, seen.history)


def rejected_way_sentence(one: RejectedWay) -> str:
    """`Repaying would take 2,310 USDC, there are 100.`"""
    verb = "Repaying" if one.is_repayment else "Moving collateral"
    would = f"{verb} would take {amount_text(one.need_raw, one.token, is_rounded_up=True)}"
    if one.is_enough:
        return f"{would}, which costs more."
    there_are = figure(one.spare_raw, one.token.decimals) if one.spare_raw else "none"
    return f"{would}, there are {there_are} to spare."


def _rejected_way_document(one: RejectedWay) -> Document:
    return {
        "kind": "repay" if one.is_repayment else "move",
        "token": one.token.address,
        "symbol": one.token.symbol,
        "need_raw": str(one.need_raw),
        "spare_raw": str(one.spare_raw),
    }


def _rejected_document(one: Rejected) -> Document:
    return {
        "subaccount": str(one.subaccount),
        "token": one.token.address,
        "symbol": one.token.symbol,
        "spare_raw": str(one.spare_raw),
        "reason": one.reason,
    }


def _nearest(seen: View) -> str:
    """Who would be next, so that "nothing" is a statement about somebody."""
    for subaccount in nearest_first(seen.snapshot, seen.session.policy):
        if subaccount.has_debt and not isinstance(subaccount.reading, UnknownReading):
            health = health_text(subaccount.margin.risk().health_factor)
            trigger = health_text(seen.session.policy.subaccounts[subaccount.id].thresholds.trigger)
            return f"Nearest is {name_of(subaccount)}: health {health}, due below {trigger}."
    return "Nothing that can be read owes anything."


def _cost_sentence(seen: View) -> str:
    gas = plan_gas(seen.plan.rescues)
    price = seen.history.gas_price_wei
    cost = gas_cost_usd(seen.snapshot, seen.history, gas, plan_bytes(seen.plan.rescues))
    config = seen.session.config
    in_usd = f", {usd_text(cost)}" if cost is not None else f"; {no_gas_price_text(config)}"
    says = f"One {seen.plan.lane.value} batch of about {gas:,} gas at {_gwei(price)}{in_usd}."
    fees = config.fees
    ceiling = fee_ceiling_wei(seen.snapshot, seen.plan.rescues, gas, fees.fee_share_of_value, fees.max_fee)
    return says if price <= ceiling else f"{says} That is above its fee ceiling of {_gwei(ceiling)}, by [fees]."


def no_gas_price_text(config: Config) -> str:
    """Why a cost in gas is not told in USD, and what would change that."""
    if config.prices.native is not None:
        return f"the feed of {config.chain.coin} in USD, [prices] native, has no usable answer now"
    return f"in USD it is told once [prices] native names the aggregator of {config.chain.coin} in USD"


def _gwei(wei: int) -> str:
    return f"{number_text(wei / 10**9)} gwei"


def _gas_document(seen: View) -> Document | None:
    if not seen.plan.rescues:
        return None
    gas = plan_gas(seen.plan.rescues)
    cost = gas_cost_usd(seen.snapshot, seen.history, gas, plan_bytes(seen.plan.rescues))
    return {
        "estimated": gas,
        "price_wei": str(seen.history.gas_price_wei),
        "cost_usd_wad": None if cost is None else str(cost),
    }
