"""`keeper` as a person or a program calls it, in this process: what it prints, and how it exits."""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keeper.cli import main


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as the one JSON document that it has to be."""
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The sentence on standard error, without the program's name and without what was logged before it."""
        logged, name, sentence = self.err.rpartition("keeper: ")
        assert name, self.err
        assert "Traceback" not in logged
        return sentence.rstrip("\n")


def keeper(verb: str, *arguments: str | Path, config: Path | None = None) -> Ran:
    where = [] if config is None else ["--config", str(config)]
    out, err = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, ["keeper", *verb.split(), *map(str, arguments), *where]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = before
    assert isinstance(code, int), code
    return Ran(code, out.getvalue(), err.getvalue())


def keeper_process(verb: str, *, config: Path, environment: Mapping[str, str] | None = None) -> Ran:
    """The same in a process of its own, for verbs that set logging up or answer signals."""
    command = [str(Path(sys.executable).with_name("keeper")), *verb.split(), "--config", str(config)]
    ended = subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return Ran(ended.returncode, ended.stdout, ended.stderr)
