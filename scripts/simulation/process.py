"""The keeper as a process that can be killed: everything of it is real but the wire, the clock and the machine.

A kill runs nothing of the keeper's any more: what is on its disk at that moment is what the next process finds, and all
that the dead one still does while its tasks unwind happens to a folder that nobody looks at.
"""

import asyncio
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from keeper import opening
from keeper.chain import connect
from keeper.chain.clock import SystemClock
from keeper.chain.heads import Heads
from keeper.config import load_config
from keeper.core.snapshot import Block
from keeper.daemon import Keeper
from keeper.errors import ConfigError, KeeperError
from keeper.journal_files import RESERVE_BYTES
from keeper.service import run_cycles
from keeper.telling import CycleReport
from keeper.upkeep import kept_up
from scripts.simulation.endpoint import Endpoint, Line
from scripts.simulation.weather import Kill

RESTART_SECONDS = 5.0
"""After it ended by itself, as a service manager would."""
KEPT = ("keeper.toml", "keystore.json", "password", "keeper.sqlite", "keeper.sqlite-wal", "keeper.pause")


class Process:
    """One keeper after the other on what is left of the same disk."""

    def __init__(
        self,
        folder: Path,
        endpoints: dict[str, Endpoint],
        saw: Callable[[CycleReport], None],
    ) -> None:
        """`folder` holds a keeper's files; `saw` is told of every cycle that came to its end."""
        self.folder = folder
        self.deaths = 0
        self.is_running = False
        self.started_at = 0.0
        self._ready_at = 0.0
        self._endpoints = endpoints
        self._saw = saw
        self._running: opening.Running | None = None
        self._life = 0
        self._doom: Kill | None = None
        self._down_seconds = RESTART_SECONDS
        self._ended = asyncio.Event()
        self._others = set[asyncio.Task[Any]]()
        _reserve(folder)

    # From outside -----------------------------------------------------------------------------------------------------

    def doom(self, kill: Kill) -> None:
        """It will be killed so, and started again."""
        self._doom = kill

    @property
    def blind_since(self) -> float | None:
        """When it last saw something new, or was ready to; None while it is not running."""
        if not self.is_running or self._running is None:
            return None
        age = self._running.vitals.view_age
        return self._ready_at if age is None else asyncio.get_running_loop().time() - age

    async def keep_running(self) -> None:
        """For ever; whatever task exists by now is not the keeper's."""
        self._others = asyncio.all_tasks()
        while True:
            self._ended.clear()
            self.is_running, self.started_at = True, asyncio.get_running_loop().time()
            task = asyncio.create_task(self._live(self._life))
            ended = asyncio.create_task(self._ended.wait())
            self._others.add(ended)
            await asyncio.wait((task, ended), return_when=asyncio.FIRST_COMPLETED)
            self.is_running, self._running = False, None
            fault = task.exception() if task.done() and not task.cancelled() else None
            # Its own files are in order here, so a ConfigError is no day's fault either.
            if fault is not None and (isinstance(fault, ConfigError) or not isinstance(fault, KeeperError)):
                raise fault
            ended.cancel()
            self._others.discard(ended)
            await asyncio.sleep(self._down_seconds)
            self._down_seconds = RESTART_SECONDS

    # The process ------------------------------------------------------------------------------------------------------

    async def _live(self, life: int) -> None:
        config = load_config(self.folder / "keeper.toml")

        def line(url: str, number: int | None = None) -> Line:  # noqa: ARG001
            return Line(self._endpoints[url], lambda method: self._checkpoint(life, method))

        with patch.object(connect, "HttpProvider", line), self._watched(life):
            opened = opening.open_keeper(config, is_dry_run=False)
            running = await opened.__aenter__()
        self._running, self._ready_at = running, asyncio.get_running_loop().time()
        heads = Heads(
            running.session.rpc,
            SystemClock(),
            block_seconds=config.chain.block_time / 1000,
            silence_seconds=config.chain.head_age_max,
        )
        try:
            await kept_up(running.alerts, "cycles", lambda: run_cycles(running, heads))
        finally:
            await opened.__aexit__(None, None, None)

    @contextmanager
    def _watched(self, life: int) -> Generator[None]:
        def saw(report: CycleReport) -> None:
            if life == self._life:
                self._saw(report)

        class Watched(Keeper):
            async def run_cycle(self, head: Block, *, blocks_may_be_gone: bool = False) -> CycleReport:
                report = await super().run_cycle(head, blocks_may_be_gone=blocks_may_be_gone)
                saw(report)
                return report

        with patch.object(opening, "Keeper", Watched):
            yield

    async def _checkpoint(self, life: int, method: str) -> None:
        doom = self._doom
        if life == self._life and doom is not None and (not doom.method or doom.method == method):
            self._doom = replace(doom, checkpoints=doom.checkpoints - 1)
            if doom.checkpoints == 0:
                self._doom, self._down_seconds = None, doom.down_seconds
                self._kill()
        if life != self._life:
            await asyncio.Event().wait()

    def _kill(self) -> None:
        self._life += 1
        self.deaths += 1
        left = self.folder.with_name(f"life-{self._life}")
        left.mkdir()
        for name in KEPT:
            if (self.folder / name).exists():
                shutil.copy(self.folder / name, left / name)
        _reserve(left)
        self.folder = left
        for task in asyncio.all_tasks() - self._others:
            task.cancel()
        self._ended.set()


def _reserve(folder: Path) -> None:
    """The space that a journal sets aside; writing eight megabytes takes longer than a simulated hour."""
    with (folder / "keeper.sqlite.reserve").open("wb") as file:
        file.truncate(RESERVE_BYTES)
