"""Set-up says in one sentence what is missing on this machine, before it changes anything."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
NEEDED = ("bash", "cut", "dirname", "env", "find", "flock", "git", "mkdir", "node", "npm", "sha256sum", "sort", "xargs")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with every tool that set-up uses before it begins, and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in NEEDED:
        found = shutil.which(name)
        assert found, f"{name} is not installed here"
        (folder / name).symlink_to(found)
    return folder


def run_setup(tools: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts" / "setup"], env={"PATH": str(tools)}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("git", "setup: git is needed and was not found; install it.\n"),
        ("node", "setup: Node.js 20 or newer is needed and node was not found; install it.\n"),
        ("npm", "setup: npm is needed and was not found; install it (it comes with Node.js).\n"),
    ],
)
def test_a_missing_tool_is_named(tools: Path, missing: str, sentence: str) -> None:
    (tools / missing).unlink()

    done = run_setup(tools)

    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence)


def test_a_node_that_is_too_old_is_named(tools: Path) -> None:
    (tools / "node").unlink()
    (tools / "node").write_text('#!/bin/sh\n[ "$1" = --version ] && echo v18.20.1 || echo 18\n')
    (tools / "node").chmod(0o755)

    done = run_setup(tools)

    assert done.returncode == 1
    assert done.stderr == "setup: Node.js 20 or newer is needed, found v18.20.1; install a newer one.\n"
