"""`scripts/prove`: the deep campaign and the proofs, and a table of what was proven within which bounds and time."""

import argparse
import re
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from scripts.guard_mutants.table import MUTANTS
from scripts.guard_mutants.workshop import Workshop
from scripts.guard_proofs.campaign import run_campaign
from scripts.guard_proofs.running import run
from scripts.guard_proofs.table import PROOFS

SOLVER_SECONDS_MAX = 300
# How often a branch may be taken both ways: more than there are transfers in any proof.
LOOPS_MAX = 8

ANSI = re.compile(r"\x1b\[[0-9;]*m")
CUT_SHORT = re.compile(r"not\s+been\s+fully\s+explored")
PROVEN = re.compile(r"\[PASS\]\S* (check_\w+)\(.*?\(paths: (\d+), time: ([\d.]+)s.*bounds: \[(.*)\]\)")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/prove", description=__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--campaign", action="store_true", help="only the campaign")
    which.add_argument("--proofs", action="store_true", help="only the proofs")
    which.add_argument(
        "--weakened", action="store_true", help="instead, that each proof falls when the guard is weakened for it"
    )
    arguments = parser.parse_args()
    if arguments.weakened:
        return _fall_when_weakened()
    failed = 0
    if not arguments.campaign:
        failed |= _prove()
    if not arguments.proofs:
        failed |= run_campaign()
    return failed


def _prove() -> int:
    with _workshop() as workshop:
        printed = _halmos(workshop.folder, "check_")
    proven = {name: (paths, seconds, bounds) for name, paths, seconds, bounds in PROVEN.findall(printed)}
    print("| proven with halmos | bound | paths | seconds |\n|---|---|---:|---:|")
    unproven = 0
    for proof in PROOFS:
        paths, seconds, bounds = proven.get(proof.check, ("", "**NOT PROVEN**", ""))
        # A loop that was cut short would make it a proof of less than the table says.
        if bounds or not paths or CUT_SHORT.search(printed):
            unproven, seconds = unproven + 1, "**NOT PROVEN**"
        print(f"| {proof.property} | {proof.bound} | {paths} | {seconds} |")
    if unproven:
        print(printed, file=sys.stderr)
    return 1 if unproven else 0


def _fall_when_weakened() -> int:
    """A proof that nothing could make fall would say nothing: each is tried on a guard without what it speaks of."""
    mutants = {mutant.what: mutant for mutant in MUTANTS}
    standing = 0
    with _workshop() as workshop:
        print("| proof | falls with |\n|---|---|")
        for proof in (proof for proof in PROOFS if proof.falls_with):
            with workshop.weakened(*(mutants[what] for what in proof.falls_with)):
                printed = _halmos(workshop.folder, proof.check)
            has_fallen = f"[FAIL] {proof.check}(" in ANSI.sub("", printed)
            standing += not has_fallen
            print(f"| {proof.check} | {' + '.join(proof.falls_with) if has_fallen else '**STANDS**'} |", flush=True)
    return 1 if standing else 0


@contextmanager
def _workshop() -> Generator[Workshop]:
    """A copy of the contracts: halmos takes the guard from `out`, and there it has to be linked."""
    with tempfile.TemporaryDirectory(prefix="guard-proofs-") as folder:
        yield Workshop.at(Path(folder) / "contracts", via_ir=True, tests=("symbolic",))


def _halmos(folder: Path, function: str) -> str:
    halmos = Path(sys.executable).with_name("halmos")
    printed, _ = run(
        folder,
        *(str(halmos), "--root", ".", "--function", function),
        *("--solver-timeout-assertion", f"{SOLVER_SECONDS_MAX}s", "--no-status", "--loop", str(LOOPS_MAX)),
        FOUNDRY_PROFILE="proofs",
    )
    return printed


if __name__ == "__main__":
    sys.exit(main())
