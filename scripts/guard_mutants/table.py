"""Each way in which the guard is weakened, one line at a time: the committed table.

`find` stands exactly once in its file; `replace` takes its place. A mutant that takes a whole check away carries the
name of that check in `safety`: for those, the gas that the check costs can be measured.
"""

from typing import Final

from scripts.guard_mutants.of_guard import OF_GUARD
from scripts.guard_mutants.of_protocols import OF_PROTOCOLS

MUTANTS: Final = (*OF_GUARD, *OF_PROTOCOLS)
