"""The tables of mutants and of proofs speak of the contracts as they are."""

import re
from pathlib import Path

import pytest

from scripts.guard_mutants.table import MUTANTS, Mutant
from scripts.guard_proofs.table import PROOFS

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_a_mutant_changes_exactly_one_place(mutant: Mutant) -> None:
    text = (CONTRACTS / mutant.file).read_text()
    assert text.count(mutant.find) == 1
    assert mutant.replace != mutant.find


def test_every_property_has_mutants_and_none_is_told_twice() -> None:
    assert {mutant.property for mutant in MUTANTS} == {"P1", "P3", "P4", "P5", "P6", "P7", "P8", "S"}
    assert len({mutant.what for mutant in MUTANTS}) == len(MUTANTS) >= 40


def test_the_table_of_proofs_holds_every_check_and_no_other() -> None:
    written = "\n".join(path.read_text() for path in (CONTRACTS / "test" / "symbolic").glob("*.t.sol"))
    assert sorted(re.findall(r"function (check_\w+)", written)) == sorted(proof.check for proof in PROOFS)
