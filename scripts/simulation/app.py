"""`scripts/simulate`: many seeds beside each other, one seed to read along, or the known bugs to be found."""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing import get_context

from scripts.simulation.bugs import BUGS, SEEDS
from scripts.simulation.trial import LEVELS, Outcome, simulate
from scripts.simulation.weather import Level

WORKERS_MAX = 2
PROGRESS_EVERY = 100


def many(seeds: Sequence[int], workers: int, level: Level | None = None) -> Iterator[Outcome]:
    """The outcomes in the order of the seeds."""
    if workers == 1:
        yield from (simulate(seed, level=level) for seed in seeds)
        return
    with get_context("fork").Pool(workers) as pool:
        yield from pool.imap(_Seed(level), seeds, chunksize=4)


class _Seed:
    """What a worker does with a seed."""

    def __init__(self, level: Level | None) -> None:
        self._level = level

    def __call__(self, seed: int) -> Outcome:
        return simulate(seed, level=self._level)


def table(outcomes: Sequence[Outcome]) -> Iterable[str]:
    """One line for each kind of day, and one for all of them."""
    yield f"{'':10}{'seeds':>7}{'blocks':>9}{'sent':>7}{'rescues':>9}{'liquidated':>12}{'kills':>7}{'violations':>12}"
    for level in LEVELS:
        of_level = [each for each in outcomes if each.level is level]
        if of_level:
            yield _row(level.value, of_level)
    yield _row("all", outcomes)


def _row(name: str, outcomes: Sequence[Outcome]) -> str:
    counts = (
        len(outcomes),
        sum(each.blocks for each in outcomes),
        sum(each.included for each in outcomes),
        sum(each.rescues for each in outcomes),
        sum(each.liquidations for each in outcomes),
        sum(each.deaths for each in outcomes),
        sum(len(each.violations) for each in outcomes),
    )
    return f"{name:10}" + "".join(
        f"{count:>{width}}" for count, width in zip(counts, (7, 9, 7, 9, 12, 7, 12), strict=True)
    )


def _all(options: argparse.Namespace) -> int:
    began = time.perf_counter()
    outcomes: list[Outcome] = []
    for outcome in many(range(options.first, options.first + options.seeds), options.workers, options.level):
        outcomes.append(outcome)
        for violation in outcome.violations:
            print(f"seed {outcome.seed} ({outcome.level.value}) {violation}", flush=True)
        if len(outcomes) % PROGRESS_EVERY == 0 and sys.stderr.isatty():
            print(f"{len(outcomes)} of {options.seeds}", file=sys.stderr)
    print("\n".join(table(outcomes)))
    worked = sum(each.processor_seconds for each in outcomes)
    print(f"{worked:.0f} s of work in {time.perf_counter() - began:.0f} s")
    failing = [each for each in outcomes if each.violations]
    for each in failing[:5]:
        print(f"replay: scripts/simulate --seed {each.seed} --day {each.level.value} --verbose")
    return 1 if failing else 0


def _one(options: argparse.Namespace) -> int:
    outcome = simulate(options.seed, print if options.verbose else None, options.level)
    for violation in outcome.violations:
        print(violation)
    print("\n".join(table([outcome])))
    print(f"all that happened: {outcome.digest}")
    return 1 if outcome.violations else 0


def _bugs() -> int:
    missed = 0
    for bug in BUGS:
        seed = bug.first_found()
        missed += seed is None
        where = f"not found within {SEEDS} seeds" if seed is None else f"found by seed {seed}"
        print(f"{bug.name:28} {bug.level.value:8} {where}", flush=True)
    return 1 if missed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, metavar="N", help="how many (200 unless said)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the first of them (0 unless said)")
    parser.add_argument("--seed", type=int, metavar="N", help="this one alone")
    parser.add_argument("--verbose", action="store_true", help="with --seed: everything that happens, line by line")
    parser.add_argument(
        "--day",
        dest="level",
        type=Level,
        metavar="KIND",
        help="calm, network, chain, liars or kills; in turns unless said",
    )
    parser.add_argument("--bugs", action="store_true", help="puts each known bug back and looks for it")
    parser.add_argument(
        "--workers", type=int, default=min(WORKERS_MAX, os.cpu_count() or 1), metavar="N", help="processes"
    )
    return parser.parse_args()


def main() -> int:
    options = _options()
    if options.bugs:
        return _bugs()
    return _all(options) if options.seed is None else _one(options)


if __name__ == "__main__":
    sys.exit(main())
