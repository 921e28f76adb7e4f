"""`scripts/bench` runs and prints what it measured. How fast anything was is nothing that a test decides."""

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from scripts.benchmarks.app import app
from scripts.benchmarks.cycle import CycleTimes, Reads
from scripts.benchmarks.gas import GasUse
from scripts.benchmarks.laboratory import Parts
from scripts.benchmarks.memory import MemoryUse
from scripts.benchmarks.oracle import Greedy
from scripts.benchmarks.plan import PlanQuality
from scripts.benchmarks.tables import Table, cycle_table, gas_table, memory_table, plan_table
from scripts.localchain.anvil import ROOT


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.benchmarks.app", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def measured(*arguments: str) -> Any:
    finished = bench(*arguments, "--json")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


# It runs --------------------------------------------------------------------------------------------------------------


@pytest.mark.devnet
def test_a_cycle_is_measured_against_the_bare_socket_and_plain_web3() -> None:
    (times,) = measured("cycle", "--subaccounts", "2", "--repetitions", "2", "--idiom-repetitions", "1")
    parts, reads = times.pop("parts"), times.pop("read")
    assert times.pop("subaccounts") == 2
    assert times.keys() == {
        "floor", "keeper", "keeper_over_floor", "processor", "by_multicall", "view_by_view",
    }  # fmt: skip
    assert parts.keys() == {"decode", "assess", "plan", "encode", "sign"}
    assert reads.keys() == {"floor", "keeper", "viem", "by_multicall", "view_by_view"}
    assert all(value > 0 for value in (*times.values(), *parts.values(), *reads.values()))


@pytest.mark.devnet
def test_gas_is_measured_from_receipts() -> None:
    uses = {use["what"]: use for use in measured("gas")}
    assert list(uses) == [
        "withdrawal and supply, sent by the owner",
        "one rescue, donor with debt",
        "one rescue, donor without debt",
        "one rescue, from the wallet",
        "three rescues, one donor",
        "three rescues, three donors",
    ]
    bare, single = (uses[what]["gas"] for what in list(uses)[:2])
    assert 2 * 21_000 < bare < single
    for what in ("three rescues, one donor", "three rescues, three donors"):
        assert single < uses[what]["gas"] < uses[what]["against_gas"]


def test_plans_are_measured_for_each_size_and_are_the_optimum() -> None:
    plans = measured("plan", "--subaccounts", "4", "--subaccounts", "6", "--books", "5")
    assert [(plan["subaccounts"], plan["has_several_ways"]) for plan in plans] == [
        *[(4, False), (4, True), (6, False), (6, True)],
    ]
    assert all(plan["books"] == plan["avoids_all"] == 5 for plan in plans)
    assert all(plan["gas_optimal"] == plan["gas_compared"] > 0 for plan in plans)
    assert all(plan["gas_bound"] <= plan["gas"] for plan in plans)


@pytest.mark.devnet
def test_the_daemons_memory_is_watched() -> None:
    use = measured("memory", "--subaccounts", "2", "--blocks", "2")
    assert (use["subaccounts"], use["blocks"]) == (2, 2)
    assert min(use["at_first"], use["halfway"], use["at_last"]) > 10**7


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["cycle", "--subaccounts", "1"], "Invalid value for '--subaccounts'"),
        (["cycle", "--repetitions", "0"], "Invalid value for '--repetitions'"),
        (["speed"], "No such command 'speed'"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: list[str], says: str) -> None:
    finished = CliRunner().invoke(app, arguments)
    assert finished.exit_code == 2
    assert says in " ".join(finished.stderr.split())


# What it prints -------------------------------------------------------------------------------------------------------

TIMES = CycleTimes(
    subaccounts=100,
    floor=0.008,
    keeper=0.020,
    keeper_over_floor=2.5,
    processor=0.0125,
    parts=Parts(decode=0.0015, assess=0.0002, plan=0.004, encode=0.0001, sign=0.0005),
    by_multicall=0.4,
    view_by_view=2.2,
    read=Reads(floor=0.004, keeper=0.005, viem=0.02, by_multicall=0.15, view_by_view=1.0),
)


def test_a_ratio_stands_below_the_times_that_it_is_of() -> None:
    assert [row[1:] for row in cycle_table([TIMES]).rows] == [
        ("8.0 ms", ""),
        ("20.0 ms", ""),
        ("2.5 ×", "≤ 3 at 100"),
        ("12.5 ms", ""),
        ("2.3 ms", "≤ 3 ms at 100, ≤ 8 at 256"),
        ("4.0 ms", "≤ 5 ms to 32, ≤ 50 to 128"),
        ("400.0 ms", ""),
        ("20 ×", "≥ 20 at 100"),
        ("2,200.0 ms", ""),
        ("110 ×", ""),
        ("4.0 ms", ""),
        ("5.0 ms", ""),
        ("1.2 ×", ""),
        ("4.0 ×", ""),
        ("30 ×", ""),
        ("200 ×", ""),
    ]


def test_each_size_of_wallet_is_a_column() -> None:
    assert cycle_table([TIMES, TIMES]).headers == ("medians", "100 subaccounts", "100 subaccounts", "budget")


@pytest.mark.parametrize(("gas", "is_over"), [(223_470, False), (223_471, True)])
def test_gas_is_held_against_its_budget(gas: int, is_over: bool) -> None:
    use = GasUse("one rescue", gas, "the two transactions", 171_900, 223_470)
    assert use.is_over_budget is is_over
    (row,) = gas_table([use]).rows
    assert row == ("one rescue", f"{gas:,}", "the two transactions", "171,900", "130%", "223,470")


def test_what_is_compared_with_nothing_has_no_ratio() -> None:
    (row,) = gas_table([GasUse("withdrawal and supply", 169_820)]).rows
    assert row == ("withdrawal and supply", "169,820", "", "", "", "")


def quality(subaccounts: int = 24, **different: float) -> PlanQuality:
    best_fit, largest_first = Greedy(1_190_000, 0), Greedy(1_310_000, 2)
    plan = PlanQuality(
        subaccounts, False, 30, 30, 1, 25, 25, 1_000_000, 1_000_000, best_fit, largest_first, 0.012, 0.0555
    )
    return replace(plan, **different)


def test_plans_are_shown_against_the_bound_and_the_greedy_ways() -> None:
    table = plan_table([quality(), quality(has_several_ways=True)])
    assert table.headers == (
        *("plans of the published set", "24 subaccounts, one way", "24 subaccounts, several ways"),
    )
    assert [row[1] for row in table.rows] == [
        *("30 of 30", "25 of 25", "1.00 ×", "1.19 ×, 0 short", "1.31 ×, 2 short", "1", "12.0 ms", "55.5 ms"),
    ]


@pytest.mark.parametrize(
    ("plan", "is_good"),
    [
        (quality(), True),
        (quality(avoids_all=29), False),
        (quality(gas_optimal=24), False),
        (quality(25, gas_optimal=24), True),
        (quality(128, gas=1_150_000), True),
        (quality(128, gas=1_150_001), False),
    ],
)
def test_a_plan_must_be_the_optimum_to_24_subaccounts_and_near_the_bound_beyond(
    plan: PlanQuality, is_good: bool
) -> None:
    assert plan.is_good is is_good


def test_memory_is_shown_in_megabytes() -> None:
    table = memory_table(MemoryUse(256, 200, 91_500_000, 93_200_000, 94_049_000))
    assert table.headers[3] == "after 200 blocks"
    assert [*table.rows[0]] == ["256 subaccounts", "91.5 MB", "93.2 MB", "94.0 MB", "< 120 MB at 256, flat"]


def test_markdown_has_its_numbers_on_the_right() -> None:
    assert Table(("what", "gas"), [("one rescue", "221,837")]).markdown() == (
        "| what | gas |\n| --- | ---: |\n| one rescue | 221,837 |"
    )
