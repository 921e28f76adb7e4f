"""How much memory the daemon holds, and whether it grows: `keeper run` as a process of its own, block after block."""

import subprocess
import time
from dataclasses import dataclass

from scripts.benchmarks.wallet import WideWallet
from scripts.localchain import daemon
from scripts.localchain.node import Node

SECONDS_BETWEEN = 0.3
BLOCK_SECONDS = 12


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Resident memory in bytes."""

    subaccounts: int
    blocks: int
    at_first: int
    """When it was ready."""
    halfway: int
    at_last: int


def measure_memory(wallet: WideWallet, blocks: int) -> MemoryUse:
    """The first cycle finds a rescue to send. Raises DaemonError."""
    node = wallet.devnet.node
    wallet.config("memory")
    running = daemon.start(wallet.devnet.folder / "memory.toml")
    try:
        running.wait_until_ready(lambda: _pass(node))
        seen = [_resident(running.pid)]
        for _ in range(blocks):
            _pass(node)
            running.check()
            seen.append(_resident(running.pid))
    finally:
        running.stop()
    return MemoryUse(len(wallet.markets), blocks, seen[0], seen[blocks // 2], seen[-1])


def _pass(node: Node) -> None:
    node.set_next_timestamp(node.timestamp() + BLOCK_SECONDS)
    node.mine()
    time.sleep(SECONDS_BETWEEN)


def _resident(pid: int) -> int:
    finished = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(finished.stdout) * 1024
