"""What a verb answers: the same facts for a person and for a program."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType

THERE_IS_SOMETHING_TO_DO = 3


@dataclass(frozen=True, slots=True)
class Answer:
    parts: Sequence[RenderableType]
    """Printed one under the other."""
    document: Mapping[str, Any] | Sequence[Any]
    """The `--json` form: addresses whole, amounts as decimal strings of raw units."""
    exit_code: int = 0
    is_streamed: bool = False
    """Whether the document is one of several, a line each."""
