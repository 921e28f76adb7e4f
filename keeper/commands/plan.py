"""`keeper plan`: what would be sent now, why, and what it costs."""

import asyncio
import re
from pathlib import Path

from rich.console import RenderableType

from keeper.commands.answer import THERE_IS_SOMETHING_TO_DO, Answer
from keeper.commands.view import View, view
from keeper.config import load_config
from keeper.config_values import parse_bps
from keeper.core.economics import gas_cost_usd, plan_gas
from keeper.core.units import BPS
from keeper.core.verdict import Healthy, NotProtected, Rescue, Watching
from keeper.documents import Document, plan_document
from keeper.errors import ConfigError
from keeper.pausing import Mode
from keeper.report import name_of, rescue_paragraph, usd_text, verdict_text
from keeper.session import open_session

_CHANGE = re.compile(r"\s*([A-Za-z0-9._-]+)\s*=\s*([+-]?)\s*([0-9.]+\s*%)\s*")


def plan(config_path: Path, *, shock: str | None) -> Answer:
    return asyncio.run(_plan(config_path, parse_shock(shock or "")))


def parse_shock(text: str) -> dict[str, int]:
    """`WETH=-12%,USDC=-1%` as basis points by symbol. Raises ConfigError for anything else."""
    changes: dict[str, int] = {}
    for part in filter(str.strip, text.split(",")):
        match = _CHANGE.fullmatch(part)
        if match is None:
            raise ConfigError(f"--shock {part.strip()!r} is not of the form WETH=-12%.")
        try:
            size = parse_bps(match[3])
        except ValueError as problem:
            raise ConfigError(f"--shock {part.strip()!r}: {problem}.") from None
        changes[match[1]] = -size if match[2] == "-" else size
        if changes[match[1]] <= -BPS:
            raise ConfigError(f"--shock {part.strip()!r}: a price cannot fall by 100 % or more.")
    return changes


async def _plan(config_path: Path, changes_bps: dict[str, int]) -> Answer:
    async with open_session(load_config(config_path)) as session:
        seen = await view(session, changes_bps)
    symbols = {
        token.symbol
        for each in seen.snapshot.subaccounts
        for token in (*(line.token for line in each.collateral), each.unit)
        if token is not None
    }
    unknown = sorted(changes_bps.keys() - symbols)
    if unknown:
        raise ConfigError(
            f"--shock names {unknown[0]}, which the wallet does not hold; it has {', '.join(sorted(symbols))}."
        )
    document = plan_document(seen.plan, seen.snapshot)
    document["assumed_changes_bps"] = changes_bps
    document["gas"] = _gas_document(seen)
    code = THERE_IS_SOMETHING_TO_DO if seen.plan.rescues else 0
    return Answer(_sentences(seen, changes_bps), document, exit_code=code)


def _sentences(seen: View, changes_bps: dict[str, int]) -> list[RenderableType]:
    snapshot, plan = seen.snapshot, seen.plan
    block = snapshot.block
    assumed = ", ".join(f"{symbol} {bps / 100:+g} %" for symbol, bps in changes_bps.items())
    lines: list[RenderableType] = [
        f"At block {block.number}" + (f", assuming {assumed}" if assumed else "") + ":",
    ]
    for rescue in plan.rescues:
        lines += ["", rescue_paragraph(rescue, snapshot, seen.session.policy)]
    others = [
        (snapshot.subaccount(id), verdict)
        for id, verdict in plan.verdicts.items()
        if not isinstance(verdict, Healthy | Watching | Rescue)
    ]
    if others:
        lines.append("")
    for subaccount, verdict in others:
        said = verdict_text(verdict, block.timestamp)
        lines.append(
            f"{name_of(subaccount)}: {said}"
            if not isinstance(verdict, NotProtected)
            else f"{name_of(subaccount)} is {said}"
        )
    if plan.rescues:
        lines += ["", _cost_sentence(seen)]
        if seen.mode is Mode.PAUSED:
            lines.append("The keeper is paused: nothing of this is sent until `keeper resume`.")
    else:
        lines += ["", "Nothing to send."]
    return lines


def _cost_sentence(seen: View) -> str:
    gas = plan_gas(seen.plan.rescues)
    price = seen.history.gas_price_wei
    cost = gas_cost_usd(seen.snapshot, gas, price)
    in_usd = f", {usd_text(cost)}" if cost is not None else "; no price of the native coin in USD is configured"
    return f"One {seen.plan.lane.value} batch of about {gas:,} gas at {price / 10**9:.3g} gwei{in_usd}."


def _gas_document(seen: View) -> Document | None:
    if not seen.plan.rescues:
        return None
    gas = plan_gas(seen.plan.rescues)
    cost = gas_cost_usd(seen.snapshot, gas, seen.history.gas_price_wei)
    return {
        "estimated": gas,
        "price_wei": str(seen.history.gas_price_wei),
        "cost_usd_wad": None if cost is None else str(cost),
    }
