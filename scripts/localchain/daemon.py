"""The keeper as a real process of its own, started and stopped as an operator would."""

import atexit
import os
import signal
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from scripts.localchain.anvil import ROOT

READY_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 15.0


class DaemonError(Exception):
    """The daemon did not start, ended by itself, or did not end when told to."""


@dataclass(slots=True)
class Daemon:
    """`keeper run` for one keeper.toml; its output is in `log`."""

    pid: int
    log: Path
    health_url: str
    _process: subprocess.Popen[bytes] = field(repr=False)

    def check(self) -> None:
        """Raises DaemonError when it has ended."""
        code = self._process.poll()
        if code is not None:
            raise DaemonError(f"the keeper ended with exit code {code}; its last words:\n{last_lines(self.log)}")

    def wait_until_ready(self, meanwhile: Callable[[], None]) -> None:
        """Until /readyz says yes; calls `meanwhile` between two attempts. Raises DaemonError."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline:
            self.check()
            try:
                with urllib.request.urlopen(f"{self.health_url}/readyz", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                pass
            meanwhile()
        raise DaemonError(
            f"the keeper was not ready in {READY_SECONDS_MAX:.0f} seconds; its last words:\n{last_lines(self.log)}"
        )

    def stop(self) -> int:
        """SIGTERM, and its exit code. Raises DaemonError when it has to be killed."""
        atexit.unregister(self.kill)
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            raise DaemonError("the keeper did not end on SIGTERM") from None

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def detach(self) -> None:
        """Gives it up: whoever knows `pid` stops it."""
        atexit.unregister(self.kill)
        self._process.returncode = 0


def start(config: Path) -> Daemon:
    """Starts the daemon; it may not be ready yet."""
    listen = tomllib.loads(config.read_text())["telemetry"]["listen"]
    log = config.with_name("keeper.log")
    command = [str(Path(sys.executable).with_name("keeper")), "run", "--config", str(config)]
    # Overrides of somebody's own keeper do not concern this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KEEPER__")}
    with log.open("wb") as output, _signals_held_back():
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        daemon = Daemon(process.pid, log, f"http://{listen}", process)
        atexit.register(daemon.kill)
    return daemon


@contextmanager
def _signals_held_back() -> Generator[None]:
    """SIGINT and SIGTERM come afterwards: in between they would leave a process that nobody knows."""
    received: list[int] = []

    def hold_back(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    handlers = {number: signal.signal(number, hold_back) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for number in received:
        signal.raise_signal(number)


def last_lines(log: Path, count: int = 15) -> str:
    return "\n".join(f"  {line}" for line in log.read_text(errors="replace").splitlines()[-count:])
