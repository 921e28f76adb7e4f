"""The read of a cycle through viem's multicall, in a Node.js process of its own: the idiom of the other language."""

import json
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from keeper.errors import KeeperError
from scripts.benchmarks.idiom import Idiom
from scripts.localchain import world

SCRIPT = Path(__file__).with_name("viem_read.cjs")
SECONDS_MAX = 300


def read_by_viem(url: str, idiom: Idiom, repetitions: int) -> float:
    """The median seconds of the same calls, encoding and decoding included. Raises KeeperError when viem fails."""
    asked = {
        "url": url,
        "multicall": world.MULTICALL3,
        "repetitions": repetitions,
        "calls": [
            {
                "address": view.address,
                "abi": [view.abi],
                "functionName": view.fn_name,
                "args": _as_json(view.arguments),
            }
            for view in idiom.views()
        ],
    }
    finished = subprocess.run(
        ["node", str(SCRIPT)], input=json.dumps(asked), capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
    if finished.returncode:
        raise KeeperError(f"The read through viem failed: {finished.stderr.strip()}")
    return statistics.median(json.loads(finished.stdout))


def _as_json(value: Any) -> Any:
    """Integers as viem takes them: marked, because JSON has none that are large enough."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, int):
        return f"int:{value}"
    if isinstance(value, list | tuple):
        return [_as_json(each) for each in cast("Sequence[Any]", value)]
    return value
