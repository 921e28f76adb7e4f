"""Anvil as a child process on a port of its own choosing, stopped by its process id whatever happens."""

import atexit
import contextlib
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from scripts.localchain.node import Node, NodeError

ROOT = Path(__file__).resolve().parents[2]
CHAIN_ID = 31337
START_SECONDS_MAX, FORK_SECONDS_MAX = 20.0, 90.0
STOP_SECONDS_MAX = 5.0
FORK, FORK_VARIABLE = "live", "ANVIL_FORK_OF"
"""What the chain that is forked is called in the settings that anvil is started with, and where its URL is."""


class AnvilError(Exception):
    """Anvil is missing or did not start."""


def find_anvil() -> Path:
    """The binary itself: npm's wrapper would be one more process to start and to stop."""
    found = sorted((ROOT / "contracts" / "node_modules" / "@foundry-rs").glob("anvil-*/bin/anvil*"))
    if not found:
        raise AnvilError("anvil is not installed; run scripts/setup")
    return found[0]


@dataclass(slots=True)
class Anvil:
    """A running anvil. As a context manager it is stopped on leaving; `detach` lets it outlive this process."""

    pid: int
    port: int
    _process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def detach(self) -> None:
        """Gives it up: whoever knows `pid` stops it."""
        atexit.unregister(self.stop)
        # Else its destructor complains that a child was left behind, which is the wish here.
        self._process.returncode = 0

    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> None:
        """Until it ends by itself."""
        self._process.wait()

    def stop(self) -> None:
        atexit.unregister(self.stop)
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def __enter__(self) -> "Anvil":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(log: Path, *, port: int = 0, fork_url: str | None = None) -> Anvil:
    """Starts anvil on loopback, mining each transaction at once, and waits until it answers. Port 0 is any free one.

    With `fork_url` it goes on from the newest block of that chain, and keeps nothing of it on disk. Raises AnvilError
    with the end of its own output when it does not start.
    """
    command = [str(find_anvil()), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--chain-id", str(CHAIN_ID)] if fork_url is None else ["--fork-url", FORK, "--no-storage-caching"]
    seconds_max = START_SECONDS_MAX if fork_url is None else FORK_SECONDS_MAX
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ)
    if fork_url is not None:
        # A URL may hold a key, and everybody can read command lines: anvil finds it by name in its own environment.
        (log.parent / "foundry.toml").write_text(f'[rpc_endpoints]\n{FORK} = "${{{FORK_VARIABLE}}}"\n')
        environment[FORK_VARIABLE] = fork_url
    with log.open("wb") as output:
        # Its own session: Ctrl-C reaches only us, and we stop it when we are done with it.
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        return _listening(process, log, seconds_max)
    except BaseException:
        process.kill()
        process.wait()
        raise


def _listening(process: subprocess.Popen[bytes], log: Path, seconds_max: float) -> Anvil:
    deadline = time.monotonic() + seconds_max
    while time.monotonic() < deadline:
        text = log.read_text(errors="replace")
        listening = re.search(r"Listening on 127\.0\.0\.1:(\d+)", text)
        if listening:
            anvil = Anvil(process.pid, int(listening[1]), process)
            atexit.register(anvil.stop)
            return anvil
        if process.poll() is not None:
            raise AnvilError(f"anvil did not start: {_last_line(text)}")
        time.sleep(0.01)
    raise AnvilError(f"anvil did not answer within {seconds_max:.0f} seconds; its output is in {log}")


def stop_pid(pid: int) -> None:
    """Stops an anvil that another process started; does nothing when it is gone already."""
    deadline = time.monotonic() + STOP_SECONDS_MAX
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)


def answers(url: str) -> bool:
    """Whether a node of this chain id answers there."""
    try:
        node = Node(url, timeout_seconds=2.0)
        try:
            return int(node.request("eth_chainId"), 16) == CHAIN_ID
        finally:
            node.close()
    except NodeError:
        return False


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"
