"""The tables of mutants and of proofs speak of the contracts as they are, and the README shows them whole."""

import json
import re
from pathlib import Path

import pytest

from keeper.core.economics import BATCH_GAS, HANDOVER_GAS, RESCUE_GAS, TRANSFER_GAS
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


PROTOCOLS = ("wallet", "Morpho", "Aave", "Euler", "Venus")
MEASURED = {
    pair: int(gas)
    for table in ("GasPairs", "GasPairsEuler", "GasPairsVenus")
    for pair, gas in json.loads((CONTRACTS / "snapshots" / f"{table}.json").read_text()).items()
}


def most(*, ends: str, starts: str = "", but: str = " none ") -> int:
    """The dearest pair."""
    return max(
        gas for pair, gas in MEASURED.items() if pair.startswith(starts) and pair.endswith(ends) and but not in pair
    )


def test_what_a_rescue_is_taken_to_cost_is_what_it_costs_and_hardly_more() -> None:
    for protocol in PROTOCOLS[1:]:
        costs = most(starts="wallet", ends=f" {protocol}, one rescue")
        assumed = BATCH_GAS + RESCUE_GAS[protocol.lower()] + TRANSFER_GAS["wallet"]
        assert costs <= assumed <= costs * 1.1


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
