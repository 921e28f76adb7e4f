"""The tables of mutants and of proofs speak of the contracts as they are, and the README shows them whole."""

import json
import re
from pathlib import Path

import pytest

from keeper.core.economics import BATCH_GAS, ENTRY_GAS, HANDOVER_GAS, RESCUE_GAS, TRANSFER_GAS, plan_gas
from keeper.core.plan import Effect, Kind, Lane, Rescue, Stage, Transfer
from keeper.core.snapshot import SubaccountId, Token
from keeper.core.units import Address
from keeper.protocols.guard_batch import budgets, simulated_gas
from scripts.guard_mutants.mutant import Mutant
from scripts.guard_mutants.table import MUTANTS
from scripts.guard_proofs.table import PROOFS

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = ROOT / "contracts"
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_a_mutant_changes_exactly_one_place(mutant: Mutant) -> None:
    text = (CONTRACTS / mutant.file).read_text()
    assert text.count(mutant.find) == 1
    assert mutant.replace != mutant.find


def test_every_property_has_mutants_and_none_is_told_twice() -> None:
    assert {mutant.property for mutant in MUTANTS} == {"P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "S"}
    assert len({mutant.what for mutant in MUTANTS}) == len(MUTANTS) >= 40


def test_the_table_of_proofs_holds_every_check_and_no_other() -> None:
    written = "\n".join(path.read_text() for path in (CONTRACTS / "test" / "symbolic").glob("*.t.sol"))
    assert sorted(re.findall(r"function (check_\w+)", written)) == sorted(proof.check for proof in PROOFS)


def test_each_proof_that_can_fall_falls_with_a_mutant_of_the_table() -> None:
    assert {what for proof in PROOFS for what in proof.falls_with} <= {mutant.what for mutant in MUTANTS}


def rows(header: str) -> list[list[str]]:
    """The cells of the README's table under this header, a list for each row."""
    below = README.split(header + "\n", maxsplit=1)[1].splitlines()[1:]
    table = below[: below.index("")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table]


def test_the_readme_shows_every_proof_with_its_bound() -> None:
    shown = rows("| proven with halmos | bound | paths | seconds |")
    assert [row[:2] for row in shown] == [[proof.property, proof.bound] for proof in PROOFS]


def test_the_readme_shows_every_mutant_and_the_test_that_kills_it() -> None:
    shown = rows("| property | mutant | killed by |")
    assert [row[:2] for row in shown] == [[mutant.property, mutant.what] for mutant in MUTANTS]
    tests = "\n".join(path.read_text() for path in (CONTRACTS / "test").rglob("*.sol"))
    killers = {row[2].strip("`") for row in shown}
    assert killers == {killer for killer in killers if f"function {killer}(" in tests}


def test_the_readme_shows_what_each_check_costs() -> None:
    shown = rows("| check | gas in one rescue | in three |")
    assert [row[0] for row in shown] == [mutant.safety for mutant in MUTANTS if mutant.safety]


@pytest.mark.parametrize(
    ("table", "header"),
    [
        ("GasPairs", "| from, to |"),
        ("GasPairsEuler", "| from, to, on the stand-in |"),
        ("GasPairsVenus", "| from, to, with Venus |"),
        ("GasPairsEulerVenus", "| from, to, between the stand-in and Venus |"),
    ],
)
def test_the_readme_shows_the_gas_of_every_pair_of_protocols(table: str, header: str) -> None:
    measured = json.loads((CONTRACTS / "snapshots" / f"{table}.json").read_text())
    shown = {
        f"{pair}, {what}": gas.replace(",", "")
        for pair, *costs in rows(f"{header} one rescue | three in a batch | another transfer |")
        for what, gas in zip(("one rescue", "three rescues", "another transfer"), costs, strict=True)
    }
    assert shown == measured


TABLES = ("GasPairs", "GasPairsEuler", "GasPairsVenus", "GasPairsEulerVenus")
PROTOCOLS = ("wallet", "Morpho", "Aave", "Euler", "Venus")
MEASURED = {
    pair: int(gas)
    for table in TABLES
    for pair, gas in json.loads((CONTRACTS / "snapshots" / f"{table}.json").read_text()).items()
}
PAIRS = sorted(pair.removesuffix(", one rescue") for pair in MEASURED if pair.endswith(", one rescue"))
TOKEN = Token(Address("0xtoken"), "WETH", 18)


def a_rescue(pair: str) -> Rescue:
    """What the pair's numbers were measured with."""
    donor, *_, how, recipient = pair.lower().split()
    of, to = SubaccountId(donor, "donor"), SubaccountId(recipient, "recipient")
    kind = Kind.REPAY if how == "repays" else Kind.NATIVE if donor == recipient else Kind.CROSS
    transfer = Transfer(kind, of, to, TOKEN, 1)
    return Rescue(to, (transfer,), Stage.NORMAL, Lane.CRITICAL, 0, Effect(to, 0, 0, 0), (), None)


def test_each_way_between_any_two_protocols_is_measured() -> None:
    # The Morpho accounts have nothing that another owes.
    donors = ["wallet to", "wallet repays", "Morpho with debt to", "Morpho without debt to"]
    for protocol in ("Aave", "Euler", "Venus"):
        donors += [f"{protocol} with debt to", f"{protocol} without debt to", f"{protocol} without debt repays"]
    assert sorted(f"{donor} {recipient}" for donor in donors for recipient in PROTOCOLS[1:]) == PAIRS


@pytest.mark.parametrize("pair", PAIRS)
def test_a_plan_says_no_less_gas_than_a_pair_takes_alone_or_three_times_in_a_batch(pair: str) -> None:
    rescue = a_rescue(pair)
    one, three = (MEASURED[f"{pair}, {what}"] for what in ("one rescue", "three rescues"))
    assert one <= plan_gas([rescue]) <= one * 1.4
    assert three <= plan_gas([rescue] * 3) <= three * 1.5


@pytest.mark.parametrize("pair", PAIRS)
def test_a_budget_holds_for_a_rescue_alone_even_if_it_was_simulated_behind_others(pair: str) -> None:
    rescue = a_rescue(pair)
    one, three = (MEASURED[f"{pair}, {what}"] for what in ("one rescue", "three rescues"))
    assert one * 1.6 <= min(simulated_gas([rescue] * 16, 30_000_000))
    alone, *behind = budgets([rescue] * 3, [one, *2 * [(three - one) // 2]])
    assert one <= min(alone, *behind)


def most(*, ends: str, starts: str = "", but: str = " none ") -> int:
    """The dearest pair."""
    return max(
        gas for pair, gas in MEASURED.items() if pair.startswith(starts) and pair.endswith(ends) and but not in pair
    )


def test_what_a_rescue_is_taken_to_cost_is_what_it_costs_and_hardly_more() -> None:
    for protocol in PROTOCOLS[1:]:
        costs = most(starts="wallet", ends=f" {protocol}, one rescue")
        assumed = BATCH_GAS + ENTRY_GAS[protocol.lower()] + RESCUE_GAS[protocol.lower()] + TRANSFER_GAS["wallet"]
        assert costs <= assumed <= costs * 1.1


def test_what_entering_a_protocol_is_taken_to_cost_is_what_it_costs_and_hardly_more() -> None:
    for protocol in PROTOCOLS[2:]:
        warm = BATCH_GAS + RESCUE_GAS["morpho"] + TRANSFER_GAS[protocol.lower()]
        costs = most(starts=protocol, ends="Morpho, one rescue") - warm
        assert costs <= ENTRY_GAS[protocol.lower()] <= costs * 1.1


def test_what_a_further_transfer_is_taken_to_cost_is_what_it_costs_and_hardly_more() -> None:
    for protocol in PROTOCOLS:
        # On Morpho alone nothing has a form that could be handed over.
        elsewhere = " none " if protocol == "Morpho" else f"to {protocol},"
        costs = most(starts=protocol, ends="another transfer", but=elsewhere)
        assert costs <= TRANSFER_GAS[protocol.lower()] <= costs * 1.15


def test_what_a_handover_is_taken_to_cost_is_what_it_costs_and_hardly_more() -> None:
    for protocol in ("Aave", "Euler", "Venus"):
        costs = most(starts=protocol, ends=f"to {protocol}, another transfer")
        assert costs <= HANDOVER_GAS[protocol.lower()] <= costs * 1.1


def test_every_refusal_of_the_guard_is_seen_in_a_test() -> None:
    abi = json.loads((ROOT / "abis" / "MarginGuard.json").read_text())
    errors = {entry["name"] for entry in abi["abi"] if entry["type"] == "error"}
    assert len(errors) >= 40
    tests = "\n".join(path.read_text() for path in (CONTRACTS / "test").rglob("*.sol"))
    assert errors == {error for error in errors if re.search(rf"\b{error}\b", tests)}
