"""What `keeper check` says of the files on this machine."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from keeper.commands.check_files import journal_findings, private_findings
from keeper.commands.finding import Finding, Grade
from keeper.commands.init import write_config
from keeper.config import Config, load_config
from keeper.errors import ConfigError, KeeperError
from keeper.journal import open_writer
from keeper.journal_files import RESERVE_BYTES, Reserve
from keeper.pausing import Mode, PauseFile
from tests.test_config import MINIMAL

SIGNER = """
[signer]
keystore = "keystore.json"
password = "file:password"
"""


def config(folder: Path, text: str = "") -> Config:
    path = folder / "keeper.toml"
    path.write_text(MINIMAL.replace("http://127.0.0.1:8545", "file:endpoint") + text)
    return load_config(path)


def a_file(folder: Path, name: str, mode: int) -> Path:
    path = folder / name
    path.write_text("secret")
    path.chmod(mode)
    return path


def only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def with_space(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    def usage(_path: Path) -> SimpleNamespace:
        return SimpleNamespace(free=free)

    monkeypatch.setattr(shutil, "disk_usage", usage)


# Secrets --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "shown"), [(0o644, "0644"), (0o604, "0604"), (0o640, "0640"), (0o610, "0610"), (0o666, "0666")]
)
@pytest.mark.parametrize("name", ["keystore.json", "password", "endpoint"])
def test_a_secret_that_others_may_open_is_named_with_the_command_that_closes_it(
    tmp_path: Path, name: str, mode: int, shown: str
) -> None:
    for each in ("keystore.json", "password", "endpoint"):
        a_file(tmp_path, each, 0o600)
    path = a_file(tmp_path, name, mode)
    assert only(list(private_findings(config(tmp_path, SIGNER)))) == Finding(
        Grade.WARNING, "secrets", f"{path} is open to others on this machine (mode {shown})", f"chmod 600 {path}"
    )


def test_secrets_of_their_owner_alone_are_not_worth_a_word(tmp_path: Path) -> None:
    for name, mode in (("keystore.json", 0o600), ("password", 0o400), ("endpoint", 0o600)):
        a_file(tmp_path, name, mode)
    assert list(private_findings(config(tmp_path, SIGNER))) == []


def test_a_secret_that_is_not_there_is_found_where_it_is_used(tmp_path: Path) -> None:
    assert list(private_findings(config(tmp_path, SIGNER))) == []


# The journal ----------------------------------------------------------------------------------------------------------


def test_a_journal_that_there_is_not_yet_can_be_made(tmp_path: Path) -> None:
    found = only(list(journal_findings(config(tmp_path, '[journal]\npath = "new/folder/keeper.sqlite"'))))
    says = f"{tmp_path / 'new/folder/keeper.sqlite'} does not exist yet; `keeper run` makes it"
    assert (found.grade, found.says) == (Grade.FINE, says)


def test_a_journal_that_is_there_can_be_read_and_written(tmp_path: Path) -> None:
    made = config(tmp_path)
    open_writer(made.journal.path).close()
    found = only(list(journal_findings(made)))
    assert (found.grade, found.says) == (Grade.FINE, f"{made.journal.path} can be read and written")


def test_under_a_file_no_journal_can_be_made(tmp_path: Path) -> None:
    a_file(tmp_path, "folder", 0o600)
    found = only(list(journal_findings(config(tmp_path, '[journal]\npath = "folder/keeper.sqlite"'))))
    says = f"{tmp_path / 'folder/keeper.sqlite'} cannot be made: {tmp_path / 'folder'} is no folder"
    assert (found.grade, found.says, found.fix) == (Grade.FAILURE, says, "name another in [journal] path")


def test_a_folder_that_cannot_be_written_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may be allowed everything, so the answer of the system is put in its place."""

    def access(path: Path, _mode: int) -> bool:
        return path != tmp_path

    monkeypatch.setattr("os.access", access)
    found = only(list(journal_findings(config(tmp_path))))
    says = f"{tmp_path / 'keeper.sqlite'} cannot be written: {tmp_path} is read-only"
    assert (found.grade, found.says, found.fix) == (Grade.FAILURE, says, "let the keeper's user write there")


def test_a_pause_is_told_where_the_journal_cannot_be_written_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = config(tmp_path)
    PauseFile(made.journal.path).write(Mode.PAUSED)
    with_space(monkeypatch, 0)
    assert [finding.subject for finding in journal_findings(made)] == ["mode", "journal"]


@pytest.mark.parametrize(("free", "grade"), [(RESERVE_BYTES - 1, Grade.FAILURE), (RESERVE_BYTES, Grade.FINE)])
def test_a_disk_without_space_for_the_reserve_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, grade: Grade
) -> None:
    with_space(monkeypatch, free)
    assert only(list(journal_findings(config(tmp_path)))).grade is grade


def test_on_a_full_disk_the_reserve_that_is_set_aside_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = config(tmp_path)
    assert Reserve(made.journal.path).set_aside()
    with_space(monkeypatch, 0)
    assert only(list(journal_findings(made))).grade is Grade.FINE


# What `keeper init` writes --------------------------------------------------------------------------------------------


def test_a_config_is_written_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keeper.toml"
    write_config(path, "[chain]\n")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("[chain]\n", 0o600)
    assert [each.name for each in path.parent.iterdir()] == ["keeper.toml"]


def test_on_a_full_disk_the_config_stays_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keeper.toml"
    path.write_text("as it was")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(KeeperError) as refused:
        write_config(path, "[chain]\n")
    assert str(refused.value) == f"{path} cannot be written: No space left on device; nothing was changed."
    assert refused.value.exit_code == 1
    assert path.read_text() == "as it was"
    assert [each.name for each in tmp_path.iterdir()] == ["keeper.toml"]


def test_a_link_stays_a_link_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    real, link = tmp_path / "real.toml", tmp_path / "keeper.toml"
    real.write_text("as it was")
    link.symlink_to(real)
    write_config(link, "[chain]\n")
    assert (link.is_symlink(), real.read_text()) == (True, "[chain]\n")


def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path} is no file; name another with --output."):
        write_config(tmp_path, "[chain]\n")
