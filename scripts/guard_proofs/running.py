"""Runs what the proofs and the campaign are made by, in the contracts' folder, and says how long it took."""

import os
import subprocess
import time
from pathlib import Path

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts"
BINARIES = CONTRACTS / "node_modules" / ".bin"

# A place of its own for what is built here, so that the next `forge test` finds its build as it left it.
BUILT = "cache/prove"


def run(folder: Path, *command: str, **settings: str) -> tuple[str, float]:
    environment = os.environ | {"PATH": f"{BINARIES}{os.pathsep}{os.environ['PATH']}"}
    if folder == CONTRACTS:
        environment |= {"FOUNDRY_PROFILE": "prove", "FOUNDRY_OUT": BUILT, "FOUNDRY_CACHE_PATH": f"{BUILT}-cache"}
    environment |= settings
    started = time.monotonic()
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done.stdout, time.monotonic() - started
