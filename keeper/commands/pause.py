"""`keeper pause` and `keeper resume`: the owner's hand on the switch, with or without a running daemon."""

import asyncio
import time
from pathlib import Path

from keeper.commands.answer import Answer
from keeper.config import Config, load_config
from keeper.control import ask_daemon
from keeper.errors import KeeperError
from keeper.pausing import Mode, PauseFile
from keeper.service import pause_onchain
from keeper.session import open_session


def pause(config_path: Path, *, protect_only: bool, onchain: bool) -> Answer:
    """The file first: it holds even if everything after it fails."""
    config = load_config(config_path)
    mode = Mode.PROTECT_ONLY if protect_only else Mode.PAUSED
    told = _switch(config, mode)
    what = "Only debt-free donors may give now" if protect_only else "Nothing is sent any more"
    parts = [f"{what}; {told}. `keeper resume` undoes it."]
    document: dict[str, object] = {"mode": mode.value, "onchain_transaction": None}
    if onchain:
        hash = asyncio.run(pause_onchain(config))
        parts.append(f"The guard itself is paused ({hash}); only the owner can unpause it.")
        document["onchain_transaction"] = hash
    return Answer(parts, document)


def resume(config_path: Path) -> Answer:
    config = load_config(config_path)
    was = PauseFile(config.journal.path).read()
    if was is Mode.ACTIVE:
        parts = ["It was not paused, so nothing changes."]
    else:
        parts = [f"It was {was.value} and is active again; {_switch(config, Mode.ACTIVE)}."]
    is_guard_paused = asyncio.run(_is_guard_paused(config))
    if is_guard_paused:
        parts.append("The guard itself is still paused, so nothing can move: the owner sends `keeper setup --unpause`.")
    document = {"mode": Mode.ACTIVE.value, "was": was.value, "guard_paused": is_guard_paused}
    return Answer(parts, document, exit_code=1 if is_guard_paused else 0)


async def _is_guard_paused(config: Config) -> bool | None:
    """None when the chain cannot be asked now: resuming needs no node."""
    try:
        async with open_session(config) as session:
            snapshot = await session.look()
    except KeeperError:
        return None
    return snapshot.guard is not None and snapshot.guard.is_paused


def _switch(config: Config, mode: Mode) -> str:
    PauseFile(config.journal.path).write(mode)
    answer = asyncio.run(ask_daemon(config.telemetry.socket, "mode", {"mode": mode.value, "at": int(time.time())}))
    if answer is None:
        return "no daemon runs at the moment, and the next one will find it so"
    return "the daemon has confirmed it"
