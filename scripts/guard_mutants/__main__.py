"""`scripts/mutants`: the table of mutants and who kills each, or with `--gas` what each check costs."""

import argparse
import queue
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from scripts.guard_mutants.mutant import Mutant
from scripts.guard_mutants.table import MUTANTS
from scripts.guard_mutants.workshop import TableIsStale, Workshop

SINGLE = "one rescue, donor with debt"
TRIPLE = "three rescues, three donors"
GAS_TESTS = ("Gas.t.sol", "Setting.sol")

T = TypeVar("T")


def main() -> int:
    arguments = _arguments()
    started = time.monotonic()
    wanted = [mutant for mutant in MUTANTS if arguments.only.lower() in mutant.what.lower()]
    try:
        if arguments.gas:
            return _print_gas([mutant for mutant in wanted if mutant.safety], arguments.jobs)
        return _print_killers(wanted, arguments.jobs, started)
    except TableIsStale as stale:
        print(f"mutants: {stale}", file=sys.stderr)
        return 2


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/mutants", description=__doc__)
    parser.add_argument("--gas", action="store_true", help="measure what each check costs instead")
    parser.add_argument("--only", default="", metavar="TEXT", help="only mutants whose description holds TEXT")
    parser.add_argument("--jobs", type=int, default=2, help="copies that are built and tested side by side (default 2)")
    return parser.parse_args()


def _print_killers(mutants: list[Mutant], jobs: int, started: float) -> int:
    # A test that fails anyway would kill every mutant.
    with tempfile.TemporaryDirectory(prefix="guard-whole-") as folder:
        failing = Workshop.at(Path(folder) / "whole", via_ir=False).failing("the guard as it is")
    if failing is not None:
        raise TableIsStale(f"{failing} fails on the guard as it is")
    print("| property | mutant | killed by |\n|---|---|---|")
    survivors = 0
    for mutant, killer in _in_workshops(mutants, jobs, Workshop.killer_of):
        survivors += killer is None
        print(f"| {mutant.property} | {mutant.what} | {f'`{killer}`' if killer else '**SURVIVED**'} |", flush=True)
    seconds = time.monotonic() - started
    print(f"\n{len(mutants)} mutants, {survivors} survived, {seconds:.0f} s")
    return 1 if survivors else 0


def _print_gas(checks: list[Mutant], jobs: int) -> int:
    with tempfile.TemporaryDirectory(prefix="guard-gas-") as folder:
        whole = Workshop.at(Path(folder) / "whole", via_ir=True, tests=GAS_TESTS).gas()
    print(f"with every check: {SINGLE} {whole[SINGLE]:,}; {TRIPLE} {whole[TRIPLE]:,}\n")
    print("| check | gas in one rescue | in three |\n|---|---:|---:|")
    for check, gas in _in_workshops(checks, jobs, Workshop.gas_without, GAS_TESTS):
        print(f"| {check.safety} | {whole[SINGLE] - gas[SINGLE]:,} | {whole[TRIPLE] - gas[TRIPLE]:,} |", flush=True)
    return 0


def _in_workshops(
    mutants: list[Mutant], jobs: int, work: Callable[[Workshop, Mutant], T], tests: tuple[str, ...] = ()
) -> Iterable[tuple[Mutant, T]]:
    """Results in the order of the table. Each job has a copy of its own, so that builds stay warm and apart.

    Gas is that of the guard as it is shipped, and then the tests to keep are named.
    """
    with tempfile.TemporaryDirectory(prefix="guard-mutants-") as folder, ThreadPoolExecutor(jobs) as pool:
        free: queue.SimpleQueue[Workshop] = queue.SimpleQueue()
        for number in range(jobs):
            free.put(Workshop.at(Path(folder) / str(number), via_ir=bool(tests), tests=tests))

        def one(mutant: Mutant) -> T:
            workshop = free.get()
            try:
                return work(workshop, mutant)
            finally:
                free.put(workshop)

        yield from zip(mutants, pool.map(one, mutants), strict=True)


if __name__ == "__main__":
    sys.exit(main())
