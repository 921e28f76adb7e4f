"""The part of `keeper check` that looks at this machine's files: secrets that others can read, and the journal."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from keeper.commands.finding import Finding, Grade
from keeper.config import Config
from keeper.config_values import Endpoint, Secret
from keeper.errors import JournalError
from keeper.journal_files import RESERVE_BYTES, Reserve
from keeper.journal_reader import open_reader
from keeper.pausing import Mode, PauseFile


def private_findings(config: Config) -> Iterator[Finding]:
    """The files with secrets that somebody else on this machine may read; a missing one is found where it is used."""
    for path in _secret_files(config):
        try:
            mode = path.stat().st_mode
        except OSError:
            continue
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            says = f"{path} is open to others on this machine (mode {stat.S_IMODE(mode):04o})"
            yield Finding(Grade.WARNING, "secrets", says, f"chmod 600 {path}")


def _secret_files(config: Config) -> Iterator[Path]:
    chain, signer = config.chain, config.signer
    if signer is not None:
        yield signer.keystore
    endpoints: list[Endpoint | None] = [*chain.rpc_url, *chain.ws_url, chain.private_rpc_url, config.alerts.webhook]
    secrets: list[object] = [None if signer is None else signer.password]
    secrets += [endpoint.source for endpoint in endpoints if endpoint is not None]
    for secret in secrets:
        if isinstance(secret, Secret) and secret.path is not None:
            yield secret.path


def journal_findings(config: Config) -> Iterator[Finding]:
    path = config.journal.path
    problem = _cannot_be_written(path)
    mode = PauseFile(path).read()
    # Where no file can be, the pause file cannot be read either, which counts as a pause and is none.
    if mode is not Mode.ACTIVE and path.parent.is_dir():
        grade = Grade.FAILURE if mode is Mode.PAUSED else Grade.WARNING
        yield Finding(grade, "mode", f"the keeper is {mode.value}", "`keeper resume` undoes it")
    if problem is not None:
        yield Finding(Grade.FAILURE, "journal", *problem)
        return
    if not path.exists():
        yield Finding(Grade.FINE, "journal", f"{path} does not exist yet; `keeper run` makes it")
        return
    try:
        open_reader(path).close()
    except JournalError as fault:
        yield Finding(Grade.FAILURE, "journal", str(fault))
        return
    yield Finding(Grade.FINE, "journal", f"{path} can be read and written")


def _cannot_be_written(path: Path) -> tuple[str, str] | None:
    """What keeps a daemon from writing its journal, and the fix; nothing is written to find out."""
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        return f"{path} cannot be made: {folder} is no folder", "name another in [journal] path"
    closed = next((one for one in (path, folder) if one.exists() and not os.access(one, os.W_OK)), None)
    if closed is not None:
        return f"{path} cannot be written: {closed} is read-only", "let the keeper's user write there"
    free = shutil.disk_usage(folder).free
    if free < RESERVE_BYTES and not Reserve(path).is_set_aside:
        says = f"the disk under {path} has {free / 2**20:.1f} MB left, and {RESERVE_BYTES // 2**20} MB are set aside"
        return says, "free some space"
    return None
