"""What a verb answers: the same facts for a person and for a program."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType

THERE_IS_SOMETHING_TO_DO = 3


class Verbatim(str):
    """A line to be copied, such as a command: printed as it is, however long."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Answer:
    parts: Sequence[RenderableType]
    """Printed one under the other."""
    document: Mapping[str, Any] | Sequence[Any] | None
    """The `--json` form: ids and addresses whole, amounts as decimal strings of raw units. None when the verb has
    printed its own lines already."""
    exit_code: int = 0
