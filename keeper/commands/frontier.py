"""The picture of a what-if: every account's health as prices move, without a keeper and with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keeper.core.snapshot import Snapshot, SubaccountId
from keeper.core.units import BPS, WAD
from keeper.core.what_if import Step
from keeper.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which people with any colour vision can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
HEALTH_SHOWN_MIN, HEALTH_SHOWN_MAX = 0.9, 1.6
"""Nobody above it is anywhere near the line."""
SIZE_INCHES = (10, 7)
DOTS_PER_INCH = 120
MARGIN_SHARE = 0.02
"""Left free at the end, for what happens at the last step."""
LABELS_ABREAST = 4
CROSS_HEIGHT = 0.022
"""So far below each other stand the crosses of those who die at one step."""


def draw(snapshot: Snapshot, without: Sequence[Step], kept: Sequence[Step], path: Path) -> None:
    """Writes a PNG. Raises ConfigError when matplotlib is not installed or the file cannot be written."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("--plot needs matplotlib; install it with: pip install 'margin-keeper[plot]'.") from None

    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    upper = figure.add_subplot(2, 1, 1)
    lower = figure.add_subplot(2, 1, 2, sharex=upper, sharey=upper)
    colours = _colours(snapshot)
    for axes, steps, title in ((upper, without, "without a keeper"), (lower, kept, "with it")):
        _draw_walk(axes, snapshot, steps, colours)
        axes.set_title(f"{title}: {_fate(steps)}", loc="left")
        axes.set_ylabel("health")
        axes.axhline(1, color="#444444", linewidth=1)
        axes.set_ylim(HEALTH_SHOWN_MIN, HEALTH_SHOWN_MAX)
        axes.grid(visible=True, alpha=0.25)
    symbol, *others = without[0].changes_bps
    together = f" ({', '.join(others)} with it)" if others else ""
    lower.set_xlabel(f"% change of {symbol} since block {snapshot.block.number}{together}")
    first, last = _x(without[0]), _x(without[-1])
    lower.set_xlim(first, last + (last - first) * MARGIN_SHARE)
    handles, labels = upper.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=LABELS_ABREAST)
    try:
        figure.savefig(path, dpi=DOTS_PER_INCH)
    except OSError as fault:
        raise ConfigError(f"{path} cannot be written: {fault.strerror}.") from None


def _draw_walk(axes: Axes, snapshot: Snapshot, steps: Sequence[Step], colours: dict[SubaccountId, str]) -> None:
    """A line for each account with debt; a cross where it is liquidated, a triangle where it is rescued."""
    for subaccount in snapshot.subaccounts:
        id = subaccount.id
        if id not in colours:
            continue
        colour = colours[id]
        lived = [step for step in steps if id in step.healths]
        axes.plot(
            [_x(step) for step in lived],
            [step.healths[id] / WAD for step in lived],
            color=colour,
            label=subaccount.label,
        )
        rescued = [step for step in lived if any(rescue.recipient == id for rescue in step.rescues)]
        axes.plot([_x(step) for step in rescued], [step.healths[id] / WAD for step in rescued], "^", color=colour)
    for step in steps:
        for place, death in enumerate(step.deaths):
            colour = colours[death.subaccount]
            axes.plot([_x(step)], [1 - place * CROSS_HEIGHT], "X", color=colour, markersize=9)


def _colours(snapshot: Snapshot) -> dict[SubaccountId, str]:
    indebted = [each.id for each in snapshot.subaccounts if each.has_debt]
    return {id: COLOURS[place % len(COLOURS)] for place, id in enumerate(indebted)}


def _x(step: Step) -> float:
    return 100 * next(iter(step.changes_bps.values())) / BPS


def _fate(steps: Sequence[Step]) -> str:
    dead = sum(len(step.deaths) for step in steps)
    rescues = sum(len(step.rescues) for step in steps)
    first = next((step for step in steps if step.deaths), None)
    said = "nobody is liquidated" if first is None else f"the first of {dead} is liquidated at {_x(first):+g} %"
    return f"{said}, {rescues} rescues" if rescues else said
