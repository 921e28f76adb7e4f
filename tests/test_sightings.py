"""What is remembered of a search through the logs, and that nothing depends on it."""

from pathlib import Path

import pytest

from keeper.core.units import Address
from keeper.sightings import Sighting, SightingsFile

MORPHO, OTHER, OWNER = (Address("0x" + digits * 20) for digits in ("b1", "b2", "0e"))
SEEN = Sighting(1_234, ("0x" + "3a" * 32,))


@pytest.fixture
def file(tmp_path: Path) -> SightingsFile:
    return SightingsFile(tmp_path / "keeper.sqlite")


def test_what_was_seen_is_known_again_for_the_same_chain_contract_and_owner(file: SightingsFile) -> None:
    file.write(1, MORPHO, OWNER, SEEN)
    file.write(1, OTHER, OWNER, Sighting(5, ()))
    assert file.path.name == "keeper.seen"
    assert file.read(1, MORPHO, OWNER) == SEEN
    assert file.read(1, OTHER, OWNER) == Sighting(5, ())
    assert file.read(8453, MORPHO, OWNER) is None
    assert file.read(1, MORPHO, OTHER) is None
    assert [path.name for path in file.path.parent.iterdir()] == ["keeper.seen"]


@pytest.mark.parametrize("text", [None, "", "{", '{"1": 5}'])
def test_a_file_that_is_missing_or_broken_is_as_good_as_none(file: SightingsFile, text: str | None) -> None:
    if text is not None:
        file.path.write_text(text)
    assert file.read(1, MORPHO, OWNER) is None
    file.write(1, MORPHO, OWNER, SEEN)
    assert file.read(1, MORPHO, OWNER) == SEEN


def test_a_folder_that_takes_no_file_is_no_fault(tmp_path: Path) -> None:
    file = SightingsFile(tmp_path / "missing" / "keeper.sqlite")
    file.write(1, MORPHO, OWNER, SEEN)
    assert file.read(1, MORPHO, OWNER) is None
