"""The deep campaign, in portions, each from a seed of its own: one that is stopped goes on where it was.

What has finished is kept beside the build, by a digest of the Solidity that it was run on and of how it was run.
"""

import hashlib
import json
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.guard_proofs.running import BINARIES, CONTRACTS, run

PORTIONS = 250
"""Of as many histories as foundry.toml says under [profile.prove.invariant]."""

PASSED = re.compile(r"^\[PASS\] invariant_\w+\(\) \(runs: (\d+), calls: (\d+), reverts: (\d+)\)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Portion:
    seed: int
    histories: int
    calls: int
    broken: int
    seconds: int


def run_campaign() -> int:
    """Those that have not finished yet; the first in which a promise is broken ends it."""
    record = CONTRACTS / "cache" / "campaign" / f"{_digest()}.jsonl"
    finished = read(record)
    for seed in range(1, PORTIONS + 1):
        if seed in finished:
            continue
        printed, seconds = run(
            CONTRACTS,
            *(str(BINARIES / "forge"), "test", "--match-contract", "Campaign", "--match-test", "invariant_"),
            *("--fuzz-seed", str(seed)),
        )
        passed = PASSED.search(printed)
        if not passed:
            print(printed, file=sys.stderr)
            print(f"the campaign FAILED from seed {seed}, after {seconds:.0f} s")
            return 1
        histories, calls, broken = (int(number) for number in passed.groups())
        finished[seed] = Portion(seed, histories, calls, broken, round(seconds))
        record.parent.mkdir(parents=True, exist_ok=True)
        with record.open("a") as file:
            file.write(json.dumps(asdict(finished[seed])) + "\n")
        print(f"{len(finished)} of {PORTIONS}: {summary(finished)}", flush=True)
    print(f"the campaign passed: {summary(finished)}")
    return 0


def read(record: Path) -> dict[int, Portion]:
    """What has finished, by seed. A line that was cut short is a portion that has not."""
    finished: dict[int, Portion] = {}
    for line in record.read_text().splitlines() if record.exists() else ():
        try:
            portion = Portion(**json.loads(line))
        except (json.JSONDecodeError, TypeError):
            continue
        finished[portion.seed] = portion
    return finished


def summary(finished: dict[int, Portion]) -> str:
    portions = finished.values()
    histories, calls = sum(one.histories for one in portions), sum(one.calls for one in portions)
    broken, seconds = sum(one.broken for one in portions), sum(one.seconds for one in portions)
    return f"{histories:,} histories, {calls:,} calls, {broken} broken promises, {seconds:,} s"


def _digest() -> str:
    """Of everything that decides what a portion does."""
    digest = hashlib.sha256((CONTRACTS / "foundry.toml").read_bytes())
    for folder in ("src", "test", "devnet"):
        for source in sorted((CONTRACTS / folder).rglob("*.sol")):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]
