"""The keeper breaks no rule on two hundred bad days; the simulation that says so finds bugs that are put back."""

import pytest

from scripts.simulation.bugs import BUGS, Bug, in_place
from scripts.simulation.trial import simulate
from scripts.simulation.weather import Level


def test_no_rule_is_broken_on_two_hundred_short_days() -> None:
    outcomes = [simulate(seed, is_short=True) for seed in range(200)]
    broken = [f"seed {each.seed}: {violation}" for each in outcomes for violation in each.violations]
    assert broken == []
    # It would also be so if nothing ever happened.
    assert sum(each.rescues for each in outcomes) > 200
    assert sum(each.deaths for each in outcomes) > 40
    assert {each.level for each in outcomes} == set(Level)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_that_is_put_back_is_found(bug: Bug) -> None:
    assert bug.first_found() is not None


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_without_the_bug_the_same_day_is_fine(bug: Bug) -> None:
    assert simulate(1, level=bug.level, turn=bug.day).violations == ()


def test_a_seed_replays_exactly() -> None:
    first, second = (simulate(9, level=Level.KILLS, is_short=True) for _ in range(2))
    assert first.digest == second.digest
    assert first.blocks > 24


def test_a_bug_is_gone_when_its_block_ends() -> None:
    before = simulate(0, level=Level.NETWORK, is_short=True).digest
    for bug in BUGS:
        with in_place(bug):
            pass
    assert simulate(0, level=Level.NETWORK, is_short=True).digest == before
