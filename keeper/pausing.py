"""Whether the owner lets the keeper send, in a file of its own beside the journal.

A file, so that a pause holds whether or not a daemon runs, and survives its restarts.
"""

import os
from enum import Enum
from pathlib import Path

from keeper.errors import KeeperError


class Mode(Enum):
    ACTIVE = "active"
    PROTECT_ONLY = "protect-only"
    """Only debt-free donors may give."""
    PAUSED = "paused"
    """Nothing is sent."""


class PauseFile:
    """The mode, read afresh each time; without a file the keeper is active."""

    def __init__(self, journal_path: Path) -> None:
        self.path = journal_path.with_suffix(".pause")

    def read(self) -> Mode:
        """A file that cannot be read or understood means paused: somebody wanted something stopped."""
        try:
            text = self.path.read_text().strip()
        except FileNotFoundError:
            return Mode.ACTIVE
        except (OSError, UnicodeDecodeError):
            return Mode.PAUSED
        return next((mode for mode in Mode if mode.value == text), Mode.PAUSED)

    def write(self, mode: Mode) -> None:
        """Takes effect whole or not at all, also when the machine stops in the middle of it. Raises KeeperError."""
        try:
            if mode is Mode.ACTIVE:
                self.path.unlink(missing_ok=True)
            else:
                self._replace(mode.value + "\n")
            self._sync_folder()
        except OSError as error:
            done = "removed" if mode is Mode.ACTIVE else "written"
            raise KeeperError(f"The pause file {self.path} cannot be {done}: {error.strerror}.") from None

    def _replace(self, text: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".pause-draft")
        with draft.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)

    def _sync_folder(self) -> None:
        """Without it a power cut may bring back the name as it was: a pause that was confirmed would be gone."""
        try:
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
