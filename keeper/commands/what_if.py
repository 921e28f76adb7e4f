"""`keeper what-if`: who lives, is rescued or dies as prices move step by step, with the keeper and without."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from keeper.commands.answer import Answer
from keeper.commands.view import View, as_spelt, held_back_lines, symbols_of, view, with_companions
from keeper.config import load_config
from keeper.config_values import parse_bps
from keeper.core.snapshot import Snapshot, SubaccountId
from keeper.core.snapshot import Unknown as UnknownReading
from keeper.core.units import BPS, INFINITE_HEALTH, Wad
from keeper.core.what_if import Changes, Step, first_to_die, walk
from keeper.documents import Document, block_document, health_document, rescue_document
from keeper.errors import ConfigError
from keeper.report import counted, health_text, name_of, percent_text, usd_text
from keeper.session import open_session

STEPS_MAX = 200
"""A plan is made at every step."""
_RANGE = re.compile(
    r"\s*([A-Za-z0-9._-]+)\s*=\s*([+-]?)\s*([0-9.]+\s*%)\s*\.\.\s*([+-]?)\s*([0-9.]+\s*%)\s*:\s*([0-9.]+\s*%)\s*"
)


def what_if(config_path: Path, *, grid: str, plot: Path | None) -> Answer:
    path = parse_grid(grid)
    if plot is not None and plot.suffix.lower() != ".png":
        raise ConfigError(f"--plot {plot} is no .png file.")
    return asyncio.run(_what_if(config_path, path, plot))


def parse_grid(text: str) -> list[dict[str, int]]:
    """`WETH=-50%..0%:5%`, several with commas between: changes in basis points by symbol, from today's prices outwards.

    Raises ConfigError for anything else, for a range that does not start at today's prices, for ranges of which one has
    more steps than another, and for more than `STEPS_MAX`.
    """
    ranges: dict[str, list[int]] = {}
    for symbol, steps in (_range(part) for part in text.split(",") if part.strip()):
        if symbol in ranges:
            raise ConfigError(f"--grid names {symbol} twice.")
        ranges[symbol] = steps
    if not ranges:
        raise ConfigError("--grid is empty; say for example WETH=-50%..0%:5%.")
    lengths = {len(steps) for steps in ranges.values()}
    if len(lengths) > 1:
        counts = ", ".join(f"{symbol} has {len(steps) - 1}" for symbol, steps in ranges.items())
        raise ConfigError(f"--grid: tokens move together, so all need as many steps: {counts}.")
    return [dict(zip(ranges, changes, strict=True)) for changes in zip(*ranges.values(), strict=True)]


def _range(part: str) -> tuple[str, list[int]]:
    match = _RANGE.fullmatch(part)
    if match is None:
        raise ConfigError(f"--grid {part.strip()!r} is not of the form WETH=-50%..0%:5%.")
    symbol, *rest = match.groups()
    try:
        sizes = [parse_bps(rest[1]), parse_bps(rest[3]), parse_bps(rest[4])]
    except ValueError as problem:
        raise ConfigError(f"--grid {part.strip()!r}: {problem}.") from None
    start, end, step = (
        (-sizes[0] if rest[0] == "-" else sizes[0]),
        (-sizes[1] if rest[2] == "-" else sizes[1]),
        sizes[2],
    )
    if 0 not in (start, end):
        raise ConfigError(f"--grid {part.strip()!r}: one end must be 0%, because prices start where they are.")
    far = start or end
    if step == 0 or far == 0 or far % step:
        raise ConfigError(f"--grid {part.strip()!r}: its step must divide its range.")
    if abs(far) // step > STEPS_MAX:
        raise ConfigError(f"--grid {part.strip()!r} has {abs(far) // step} steps; {STEPS_MAX} are the most.")
    if far <= -BPS:
        raise ConfigError(f"--grid {part.strip()!r}: a price cannot fall by 100 % or more.")
    return symbol, list(range(0, far + (1 if far > 0 else -1), step if far > 0 else -step))


@dataclass(frozen=True, slots=True)
class Survey:
    """Both walks over one path."""

    snapshot: Snapshot
    path: Sequence[Changes]
    without: Sequence[Step]
    kept: Sequence[Step]
    first_without: tuple[Changes, SubaccountId] | None

    @property
    def unknown(self) -> list[str]:
        """Who takes no part."""
        return [name_of(each) for each in self.snapshot.subaccounts if isinstance(each.reading, UnknownReading)]


async def _what_if(config_path: Path, path: list[dict[str, int]], plot: Path | None) -> Answer:
    async with open_session(load_config(config_path)) as session:
        symbols, pairs = symbols_of(session), session.portfolio.pairs()
        path = [as_spelt("--grid", changes, symbols) for changes in path]
        seen = await view(session)
    survey = surveyed(seen, [with_companions(changes, pairs) for changes in path])
    parts: list[RenderableType] = [_heading(survey), "", _table(survey), "", *_summary(survey)]
    if plot is not None:
        # Drawing is the only thing that takes this library, and a keeper runs well without it.
        from keeper.commands.frontier import draw

        draw(survey.snapshot, survey.without, survey.kept, plot)
        parts += ["", f"Drawn in {plot}."]
    parts += held_back_lines(seen)
    return Answer(parts, _document(survey) | {"mode": seen.mode.value, "quorum_problem": seen.quorum_problem})


def surveyed(seen: View, path: Sequence[Changes]) -> Survey:
    policy, snapshot = seen.session.policy, seen.snapshot
    return Survey(
        snapshot,
        path,
        walk(snapshot, path, policy, seen.history, has_keeper=False),
        walk(snapshot, path, policy, seen.history, has_keeper=True),
        first_to_die(snapshot, path[-1]),
    )


# For people -----------------------------------------------------------------------------------------------------------


def changes_text(changes: Changes) -> str:
    """`WETH -12 %, WBTC -5 %`."""
    return ", ".join(
        f"{symbol} {'-' if bps < 0 else '+' if bps else ''}{percent_text(abs(bps))}" for symbol, bps in changes.items()
    )


def _heading(survey: Survey) -> str:
    steps = counted(len(survey.path) - 1, "step")
    return (
        f"From block {survey.snapshot.block.number} on, {changes_text(survey.path[-1])} in {steps}; liquidators strike "
        "at each step before the keeper acts."
    )


def _table(survey: Survey) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    first = next(iter(survey.path[0]))
    for title in (first, "lowest\nwithout", "lowest\nwith"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("what happens", overflow="fold")
    for changes, without, kept in zip(survey.path, survey.without, survey.kept, strict=True):
        table.add_row(
            changes_text({"": changes[first]}).strip(),
            _lowest(without),
            _lowest(kept),
            "\n".join(_events(survey.snapshot, without, kept)),
        )
    return table


def _lowest(step: Step) -> Text:
    if step.lowest == INFINITE_HEALTH:
        return Text("none left", style="bold red")
    return Text(health_text(step.lowest), style="bold red" if step.deaths else "")


def _events(snapshot: Snapshot, without: Step, kept: Step) -> list[str]:
    labels = {each.id: each.label for each in snapshot.subaccounts}
    lines: list[str] = []
    if without.deaths:
        lines.append(f"without: {', '.join(labels[death.subaccount] for death in without.deaths)} liquidated")
    if kept.deaths:
        lines.append(f"with: {', '.join(labels[death.subaccount] for death in kept.deaths)} liquidated")
    if kept.rescues:
        lines.append(f"with: {', '.join(labels[rescue.recipient] for rescue in kept.rescues)} rescued")
    if kept.unhelped:
        lines.append(f"with: {', '.join(labels[id] for id in kept.unhelped)} critical, and nothing may help")
    return lines


def _summary(survey: Survey) -> list[str]:
    names = {each.id: name_of(each) for each in survey.snapshot.subaccounts}
    lines: list[str] = []
    if survey.first_without is None:
        lines.append("Without a keeper everybody lives to the end of it.")
    else:
        changes, who = survey.first_without
        lines.append(f"Without a keeper {names[who]} is the first to be liquidated, at {_where(changes)}.")
    dead = next((place for place, step in enumerate(survey.kept) if step.deaths), None)
    if dead is None:
        lines.append("With it nobody is liquidated.")
    else:
        lived = f"everybody lives at {_where(survey.path[dead - 1])}, and " if dead else ""
        first = names[survey.kept[dead].deaths[0].subaccount]
        lines.append(f"With it {lived}{first} is liquidated at {_where(survey.path[dead])}.")
    lines.append(f"Liquidations take {_lost(survey.without)} without, {_lost(survey.kept)} with it.")
    if survey.unknown:
        lines.append(f"Not judged, because it cannot be read: {', '.join(survey.unknown)}.")
    return lines


def _where(changes: Changes) -> str:
    return changes_text(changes) if any(changes.values()) else "today's prices"


def _losses(steps: Sequence[Step]) -> list[Wad | None]:
    return [death.loss_usd for step in steps for death in step.deaths]


def _lost(steps: Sequence[Step]) -> str:
    losses = _losses(steps)
    known = [loss for loss in losses if loss is not None]
    text = usd_text(sum(known)) if known or not losses else "an unknown sum"
    return text if len(known) == len(losses) else f"{text} and what has no price in USD"


# For programs ---------------------------------------------------------------------------------------------------------


def _document(survey: Survey) -> Document:
    first = survey.first_without
    return {
        "block": block_document(survey.snapshot),
        "first_liquidation_without_keeper": None
        if first is None
        else {"changes_bps": dict(first[0]), "subaccount": str(first[1])},
        "not_judged": [
            str(each.id) for each in survey.snapshot.subaccounts if isinstance(each.reading, UnknownReading)
        ],
        "steps": [
            {"changes_bps": dict(changes), "without_keeper": _step(without), "with_keeper": _step(kept)}
            for changes, without, kept in zip(survey.path, survey.without, survey.kept, strict=True)
        ],
    }


def _step(step: Step) -> Document:
    return {
        "healths_wad": {str(id): health_document(health) for id, health in step.healths.items()},
        "liquidated": [
            {
                "subaccount": str(death.subaccount),
                "loss_usd_wad": None if death.loss_usd is None else str(death.loss_usd),
            }
            for death in step.deaths
        ],
        "rescues": [rescue_document(rescue) for rescue in step.rescues],
        "critical_and_not_helped": [str(id) for id in step.unhelped],
    }
