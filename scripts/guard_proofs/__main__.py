"""`scripts/prove`: the deep campaign and the proofs, and a table of what was proven within which bounds and time."""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from scripts.guard_proofs.table import PROOFS

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts"
BINARIES = CONTRACTS / "node_modules" / ".bin"

# A place of its own for what is built here, so that the next `forge test` finds its build as it left it.
BUILT = "cache/prove"
SOLVER_SECONDS_MAX = 120

CAMPAIGN_PASSED = re.compile(r"^\[PASS\] invariant_\w+\(\) \(runs: (\d+), calls: (\d+), reverts: (\d+)\)", re.MULTILINE)
PROVEN = re.compile(r"\[PASS\]\S* (check_\w+)\(.*?\(paths: (\d+), time: ([\d.]+)s.*bounds: \[(.*)\]\)")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/prove", description=__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--campaign", action="store_true", help="only the campaign")
    which.add_argument("--proofs", action="store_true", help="only the proofs")
    arguments = parser.parse_args()
    failed = 0
    if not arguments.campaign:
        failed |= _prove()
    if not arguments.proofs:
        failed |= _run_campaign()
    return failed


def _prove() -> int:
    halmos = Path(sys.executable).with_name("halmos")
    printed, _ = _run(
        str(halmos),
        *("--root", ".", "--forge-build-out", BUILT, "--function", "check_"),
        *("--solver-timeout-assertion", f"{SOLVER_SECONDS_MAX}s", "--no-status"),
    )
    proven = {name: (paths, seconds, bounds) for name, paths, seconds, bounds in PROVEN.findall(printed)}
    print("| proven with halmos | bound | paths | seconds |\n|---|---|---:|---:|")
    unproven = 0
    for proof in PROOFS:
        paths, seconds, bounds = proven.get(proof.check, ("", "**NOT PROVEN**", ""))
        # A loop that was cut short would make it a proof of less than the table says.
        if bounds or not paths:
            unproven, seconds = unproven + 1, "**NOT PROVEN**"
        print(f"| {proof.property} | {proof.bound} | {paths} | {seconds} |")
    if unproven:
        print(printed, file=sys.stderr)
    return 1 if unproven else 0


def _run_campaign() -> int:
    printed, seconds = _run(
        str(BINARIES / "forge"), "test", "--match-contract", "Campaign", "--match-test", "invariant_"
    )
    passed = CAMPAIGN_PASSED.search(printed)
    if not passed:
        print(printed, file=sys.stderr)
        print(f"the campaign FAILED after {seconds:.0f} s")
        return 1
    runs, calls, reverts = (int(number) for number in passed.groups())
    print(f"the campaign passed: {runs:,} histories, {calls:,} calls, {reverts} broken promises, {seconds:.0f} s")
    return 0


def _run(*command: str) -> tuple[str, float]:
    environment = os.environ | {
        "PATH": f"{BINARIES}{os.pathsep}{os.environ['PATH']}",
        "FOUNDRY_PROFILE": "prove",
        "FOUNDRY_OUT": BUILT,
        "FOUNDRY_CACHE_PATH": f"{BUILT}-cache",
    }
    started = time.monotonic()
    done = subprocess.run(
        command,
        cwd=CONTRACTS,
        env=environment,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done.stdout, time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
