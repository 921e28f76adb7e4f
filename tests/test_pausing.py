"""The owner's switch: a file that holds whether or not a daemon runs, and that means "paused" when in doubt."""

import errno
import os
import stat
from pathlib import Path

import pytest

from keeper.errors import KeeperError
from keeper.pausing import Mode, PauseFile


@pytest.fixture
def switch(tmp_path: Path) -> PauseFile:
    return PauseFile(tmp_path / "state" / "keeper.sqlite")


def test_without_a_file_the_keeper_is_active(switch: PauseFile) -> None:
    assert switch.read() is Mode.ACTIVE


@pytest.mark.parametrize("mode", list(Mode))
def test_a_mode_is_read_as_it_was_written_also_by_another(switch: PauseFile, mode: Mode, tmp_path: Path) -> None:
    switch.write(mode)
    assert switch.read() is mode
    assert PauseFile(tmp_path / "state" / "keeper.sqlite").read() is mode


def test_it_lies_beside_the_journal_and_is_gone_when_active(switch: PauseFile, tmp_path: Path) -> None:
    switch.write(Mode.PAUSED)
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["keeper.pause"]
    switch.write(Mode.ACTIVE)
    switch.write(Mode.ACTIVE)
    assert list((tmp_path / "state").iterdir()) == []


def test_each_journal_has_its_own(tmp_path: Path) -> None:
    PauseFile(tmp_path / "one.sqlite").write(Mode.PAUSED)
    assert PauseFile(tmp_path / "other.sqlite").read() is Mode.ACTIVE


@pytest.mark.parametrize("content", [b"", b"stop!", b"ACTIVE", b"\xff\xfe", b"paused protect-only"])
def test_what_cannot_be_understood_means_paused(switch: PauseFile, content: bytes) -> None:
    switch.path.parent.mkdir()
    switch.path.write_bytes(content)
    assert switch.read() is Mode.PAUSED


@pytest.mark.parametrize(("content", "mode"), [("protect-only", Mode.PROTECT_ONLY), ("  paused\n\n", Mode.PAUSED)])
def test_what_somebody_wrote_by_hand_is_understood(switch: PauseFile, content: str, mode: Mode) -> None:
    switch.path.parent.mkdir()
    switch.path.write_text(content)
    assert switch.read() is mode


def test_what_cannot_be_read_means_paused(switch: PauseFile) -> None:
    switch.path.mkdir(parents=True)
    assert switch.read() is Mode.PAUSED


@pytest.mark.parametrize("mode", list(Mode))
def test_a_switch_that_cannot_be_turned_is_named(tmp_path: Path, mode: Mode) -> None:
    """Where the folder should be there is a file."""
    (tmp_path / "state").write_text("")
    switch = PauseFile(tmp_path / "state" / "keeper.sqlite")
    with pytest.raises(KeeperError) as fault:
        switch.write(mode)
    assert str(fault.value).startswith(f"The pause file {tmp_path / 'state' / 'keeper.pause'} cannot be ")


@pytest.mark.parametrize("mode", [Mode.PAUSED, Mode.ACTIVE])
def test_a_switch_that_was_confirmed_survives_a_power_cut(
    switch: PauseFile, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only what the file holds is on the disk, but also that it is there, or that it is not."""
    switch.write(Mode.PROTECT_ONLY)
    synced: list[bool] = []

    def sync(file: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(file).st_mode))

    monkeypatch.setattr("os.fsync", sync)
    switch.write(mode)
    assert synced[-1:] == [True], "the folder last"


def test_an_interrupted_write_leaves_the_old_mode(switch: PauseFile, monkeypatch: pytest.MonkeyPatch) -> None:
    switch.write(Mode.PROTECT_ONLY)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(KeeperError, match=r"cannot be written: No space left on device\.$"):
        switch.write(Mode.PAUSED)
    assert switch.read() is Mode.PROTECT_ONLY
