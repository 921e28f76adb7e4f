"""The measurements as one table each, for a terminal or for the README."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import rich.table

from scripts.benchmarks.cycle import CycleTimes
from scripts.benchmarks.gas import GasUse
from scripts.benchmarks.memory import MemoryUse
from scripts.benchmarks.oracle import Greedy
from scripts.benchmarks.plan import PlanQuality


@dataclass(frozen=True, slots=True)
class Table:
    headers: Sequence[str]
    """The first column is text, the others are numbers."""
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        rule = ["---", *("---:" for _ in self.headers[1:])]
        return "\n".join(f"| {' | '.join(row)} |" for row in (self.headers, rule, *self.rows))

    def rich(self) -> rich.table.Table:
        table = rich.table.Table(box=None, pad_edge=False)
        for number, header in enumerate(self.headers):
            table.add_column(header, justify="right" if number else "left")
        for row in self.rows:
            table.add_row(*row)
        return table


def cycle_table(measured: Sequence[CycleTimes]) -> Table:
    def row(what: str, value: Callable[[CycleTimes], str], budget: str = "") -> Sequence[str]:
        return what, *(value(each) for each in measured), budget

    return Table(
        ("medians", *(f"{each.subaccounts} subaccounts" for each in measured), "budget"),
        [
            row("read, simulation and send, the same bytes over a bare socket", lambda each: _ms(each.floor)),
            row("keeper, from the head to the accepted transaction", lambda each: _ms(each.keeper)),
            row("… times the bare socket", lambda each: _times(each.keeper_over_floor), "≤ 3 at 100"),
            row("… of it processor time of the keeper", lambda each: _ms(each.processor)),
            row("… … decode, assess, encode, sign", lambda each: _ms(each.parts.python), "≤ 3 ms at 100, ≤ 8 at 256"),
            row("… … plan", lambda each: _ms(each.parts.plan), "≤ 5 ms to 32, ≤ 50 to 128"),
            row("web3 contract objects through Multicall3", lambda each: _ms(each.by_multicall)),
            row("… times the keeper", lambda each: _times(each.by_multicall / each.keeper), "≥ 20 at 100"),
            row("web3 contract objects, one call per view", lambda each: _ms(each.view_by_view)),
            row("… times the keeper", lambda each: _times(each.view_by_view / each.keeper)),
            row("the read alone, its bytes over a bare socket", lambda each: _ms(each.read.floor)),
            row("keeper's read, decoded", lambda each: _ms(each.read.keeper)),
            row("… times the bare socket", lambda each: _times(each.read.keeper / each.read.floor)),
            row("viem's multicall, decoded, times the keeper", lambda each: _times(each.read.viem / each.read.keeper)),
            row(
                "web3 through Multicall3, decoded, times the keeper",
                lambda each: _times(each.read.by_multicall / each.read.keeper),
            ),
            row(
                "web3, one call per view, times the keeper",
                lambda each: _times(each.read.view_by_view / each.read.keeper),
            ),
        ],
    )


def gas_table(uses: Sequence[GasUse]) -> Table:
    return Table(
        ("what", "gas", "compared with", "gas", "ratio", "budget"),
        [
            (
                use.what,
                f"{use.gas:,}",
                use.against,
                "" if use.against_gas is None else f"{use.against_gas:,}",
                "" if use.ratio is None else f"{use.ratio:.0%}",
                "" if use.budget_gas is None else f"{use.budget_gas:,}",
            )
            for use in uses
        ],
    )


def plan_table(measured: Sequence[PlanQuality]) -> Table:
    """A row for each measure, a column for each size of book and each kind."""

    def column(each: PlanQuality) -> str:
        return f"{each.subaccounts} subaccounts, {'several ways' if each.has_several_ways else 'one way'}"

    def row(name: str, cell: Callable[[PlanQuality], str]) -> tuple[str, ...]:
        return (name, *(cell(each) for each in measured))

    def more(each: PlanQuality, gas: float) -> str:
        return f"{gas / each.gas_bound:.2f} ×" if each.gas_bound else ""

    def simple(each: PlanQuality, way: Greedy) -> str:
        return f"{more(each, way.gas)}, {way.short} short"

    return Table(
        ("plans of the published set", *(column(each) for each in measured)),
        [
            row("avoid all the loss that can be avoided", lambda each: f"{each.avoids_all} of {each.books}"),
            row("take the least gas", lambda each: f"{each.gas_optimal} of {each.gas_compared}"),
            row("gas of transfers, against the bound", lambda each: more(each, each.gas)),
            row("… best fit", lambda each: simple(each, each.best_fit)),
            row("… largest first", lambda each: simple(each, each.largest_first)),
            row("optimum not proven in time", lambda each: str(each.unproven)),
            row("processor time, median", lambda each: _ms(each.seconds_median)),
            row("processor time, worst", lambda each: _ms(each.seconds_worst)),
        ],
    )


def memory_table(use: MemoryUse) -> Table:
    seen = (use.at_first, use.halfway, use.at_last)
    return Table(
        ("resident memory of keeper run", "when ready", "halfway", f"after {use.blocks} blocks", "budget"),
        [(f"{use.subaccounts} subaccounts", *(f"{size / 1e6:.1f} MB" for size in seen), "< 120 MB at 256, flat")],
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1_000:,.1f} ms"


def _times(ratio: float) -> str:
    return f"{ratio:.1f} ×" if ratio < 10 else f"{ratio:.0f} ×"
