"""`scripts/trigger`: one cycle now, in the running daemon or, where none runs, in this process."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from keeper.cli import DEFAULT_CONFIG, JsonOption, answer
from keeper.commands.answer import Answer
from keeper.commands.run import answer_to
from keeper.config import load_config
from keeper.control import ask_daemon
from keeper.pausing import Mode
from keeper.service import run_once
from keeper.telling import held_back


def trigger(config_path: Path) -> Answer:
    """Exits 1 when a rescue was due and did not go out."""
    config = load_config(config_path)
    document = asyncio.run(ask_daemon(config.telemetry.socket, "trigger", {}))
    if document is None:
        return answer_to(asyncio.run(run_once(config, is_dry_run=False)))
    nothing = "nothing could be sent" if document["failed"] else "nothing to send"
    lines = [
        f"{id}: {decided['reason']}."
        for id, decided in document["verdicts"].items()
        if decided["verdict"] in {"Blocked", "Unfunded", "Unknown"}
    ]
    lines += held_back(Mode(document["mode"]), document["quorum_problem"])
    lines.append(f"The daemon ran a cycle at block {document['block']['number']}: {document['outcome'] or nothing}.")
    return Answer(lines, document, exit_code=1 if document["failed"] else 0)


def main(
    config: Annotated[Path, typer.Option("--config", help="The keeper.toml to use.", metavar="FILE")] = DEFAULT_CONFIG,
    json: JsonOption = False,
) -> None:
    """Run one cycle now: in the running daemon, or in this process when none runs."""
    answer(lambda: trigger(config), json)


if __name__ == "__main__":
    typer.run(main)
