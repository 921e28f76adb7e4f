"""Up to where the logs were looked through for new positions, and what was seen there, in a file beside the journal.

A file, because `keeper status` looks too and has no right to change the journal. It only saves looking again: without
it, or when it cannot be read or written, the last blocks are looked through anew.
"""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from keeper.core.units import Address


@dataclass(frozen=True, slots=True)
class Sighting:
    """Of one owner in one protocol's contract."""

    until: int
    """The last block that was looked through."""
    found: tuple[str, ...]
    """Markets or vaults that the logs named since the file of the configuration was written."""


_FILE = TypeAdapter(dict[str, Sighting])


class SightingsFile:
    def __init__(self, journal_path: Path) -> None:
        self.path = journal_path.with_suffix(".seen")

    def read(self, chain_id: int, contract: Address, owner: Address) -> Sighting | None:
        return self._all().get(_key(chain_id, contract, owner))

    def write(self, chain_id: int, contract: Address, owner: Address, sighting: Sighting) -> None:
        """Whole or not at all; whoever else writes at this moment looks again at what was lost."""
        known = {**self._all(), _key(chain_id, contract, owner): sighting}
        draft = self.path.with_name(f"{self.path.name}-{os.getpid()}")
        with contextlib.suppress(OSError):
            try:
                draft.write_bytes(_FILE.dump_json(known))
                draft.replace(self.path)
            finally:
                draft.unlink(missing_ok=True)

    def _all(self) -> Mapping[str, Sighting]:
        try:
            return _FILE.validate_json(self.path.read_bytes())
        except (OSError, ValidationError):
            return {}


def _key(chain_id: int, contract: Address, owner: Address) -> str:
    return f"{chain_id}:{contract}:{owner}"
