"""A campaign that was stopped goes on where it was: what has finished is kept, and what was cut short has not."""

from pathlib import Path

from scripts.guard_proofs.campaign import PASSED, Portion, read, summary

LINE = '{"seed": 7, "histories": 10, "calls": 4200, "broken": 0, "seconds": 31}\n'
PORTION = Portion(7, 10, 4_200, 0, 31)


def test_nothing_has_finished_before_the_first_time(tmp_path: Path) -> None:
    assert read(tmp_path / "none.jsonl") == {}


def test_a_line_that_was_cut_short_is_a_portion_that_has_not_finished(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    record.write_text(LINE + LINE.replace("7", "8", 1)[:30] + "\n" + '{"seed": 9}\n')
    assert read(record) == {7: PORTION}


def test_portions_are_summed_up() -> None:
    portions = {7: PORTION, 9: Portion(9, 10, 4_200, 0, 1_000)}
    assert summary(portions) == "20 histories, 8,400 calls, 0 broken promises, 1,031 s"


def test_what_forge_prints_of_a_campaign_that_passed_is_understood() -> None:
    printed = "Ran 1 test\n[PASS] invariant_TheKeysHolderStealsNothing() (runs: 10, calls: 4200, reverts: 0)\nSuite"
    passed = PASSED.search(printed)
    assert passed is not None
    assert passed.groups() == ("10", "4200", "0")
    assert PASSED.search(printed.replace("[PASS]", "[FAIL: P9]")) is None
