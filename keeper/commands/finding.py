"""What a look at one thing found, how bad it is, and what mends it: the lines of `keeper check`."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from keeper.documents import Document
from keeper.report import counted


class Grade(Enum):
    FINE = "ok"
    WARNING = "warning"
    FAILURE = "FAILED"


STYLE = {Grade.FINE: "green", Grade.WARNING: "yellow", Grade.FAILURE: "bold red"}


@dataclass(frozen=True, slots=True)
class Finding:
    grade: Grade
    subject: str
    says: str
    fix: str = ""
    subaccount: str = ""
    """The whole id, for a finding about one."""


def findings_table(findings: Sequence[Finding]) -> RenderableType:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        says = finding.says + (f"; {finding.fix}" if finding.fix else "")
        table.add_row(Text(finding.grade.value, style=STYLE[finding.grade]), finding.subject, Text(says))
    return table


def summary(findings: Sequence[Finding]) -> str:
    failures = sum(finding.grade is Grade.FAILURE for finding in findings)
    warnings = sum(finding.grade is Grade.WARNING for finding in findings)
    if failures:
        return f"{counted(failures, 'failure')}, {counted(warnings, 'warning')}: it does not protect as it should."
    return f"It can protect; {counted(warnings, 'warning')}." if warnings else "Everything is in order."


def finding_document(finding: Finding) -> Document:
    return {
        "grade": finding.grade.name.lower(),
        "subject": finding.subject,
        "subaccount": finding.subaccount or None,
        "says": finding.says,
        "fix": finding.fix,
    }
