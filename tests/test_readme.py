"""The README describes the commands and the configuration that there are."""

from itertools import groupby
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from keeper.alerts import Alarm
from keeper.cli import app
from keeper.config_keys import Key, all_keys
from keeper.pausing import PauseFile
from keeper.sightings import SightingsFile

JOURNAL = Path("keeper.sqlite")
README = (Path(__file__).parent.parent / "README.md").read_text()


def verbs() -> list[str]:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    return sorted(group.commands)


def table(section: str, keys: list[Key]) -> str:
    """One section as the README shows it; what is written in the code is what stands there, word for word."""
    rows = [f"`{section}`", "", "| key | default | what it is |", "|---|---|---|"]
    for key in keys:
        default = "required" if key.is_required else f"`{key.default}`" if key.default else ""
        rows.append(f"| `{key.name}` | {default} | {key.description} |")
    return "\n".join(rows) + "\n"


TABLES = {section: table(section, list(keys)) for section, keys in groupby(all_keys(), lambda key: key.section)}


@pytest.mark.parametrize("verb", verbs())
def test_every_command_is_in_the_readme(verb: str) -> None:
    assert f"| `{verb}" in README, f"the table of commands has no row for {verb}"


@pytest.mark.parametrize("section", TABLES)
def test_every_key_is_in_the_readme_with_its_default(section: str) -> None:
    assert TABLES[section] in README, f"put this into the README:\n\n{TABLES[section]}"


@pytest.mark.parametrize(
    "name",
    [SightingsFile(JOURNAL).path.name, PauseFile(JOURNAL).path.name, "keeper.sqlite.lock", "keeper.sqlite.reserve"],
)
def test_every_file_beside_the_journal_is_in_the_operations_part(name: str) -> None:
    operations = README.partition("\n## Running it\n")[2].partition("\n## ")[0]
    assert f"`{name}`" in operations


@pytest.mark.parametrize("alarm", [alarm.label for alarm in Alarm])
def test_every_alarm_is_in_the_readme(alarm: str) -> None:
    assert f"| `{alarm}` |" in README, f"the table of alarms has no row for {alarm}"
