"""What several endpoints answer to one question, and whether enough of them say the same."""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from keeper.errors import BlockGone, CallReverted, EndpointsDisagree, KeeperError, UnreadableResult

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Agreement(Generic[T]):
    """The different answers to one question."""

    answers: tuple[T, ...]
    """At least one; the one that most endpoints gave comes first."""
    faults: tuple[KeeperError, ...] = ()
    """Of the endpoints that gave none."""
    problem: str | None = None
    """Why it is not what the quorum says, as a sentence; None: enough endpoints say the first."""

    def single(self) -> T:
        """What all say that say anything. Raises EndpointsDisagree."""
        first, *others = self.answers
        if self.problem is not None and others:
            raise EndpointsDisagree(self.problem)
        return first


@dataclass(slots=True)
class Ballot(Generic[T]):
    """Counts answers; two are the same when `same` makes the same of them."""

    same: Callable[[T], Hashable]
    _groups: dict[Hashable, "_Group[T]"] = field(default_factory=dict[Hashable, "_Group[T]"])
    _faults: dict[str, KeeperError] = field(default_factory=dict[str, KeeperError])

    def count(self, label: str, outcome: T | KeeperError) -> Hashable | None:
        """Counts what the endpoint of that label gave; what it is the same as, or None when it is no answer."""
        if isinstance(outcome, CallReverted):
            key: Hashable = (CallReverted, outcome.data)
        elif isinstance(outcome, KeeperError):
            self._faults[label] = outcome
            return None
        else:
            key = self.same(outcome)
        self._groups.setdefault(key, _Group(outcome)).labels.append(label)
        return key

    def winner(self, quorum: int) -> Hashable | None:
        """What so many endpoints say, or None."""
        return next((key for key, group in self._groups.items() if len(group.labels) >= quorum), None)

    def against(self, winner: Hashable) -> Iterator[tuple[str, T | KeeperError]]:
        """The endpoints that said something else, or nothing that can be read, with what they said."""
        for key, group in self._groups.items():
            if key != winner:
                yield from ((label, group.outcome) for label in group.labels)
        yield from ((label, fault) for label, fault in self._faults.items() if isinstance(fault, UnreadableResult))

    def is_against(self, winner: Hashable, label: str, outcome: T | KeeperError) -> bool:
        """Whether what the endpoint of that label gave is as in `against`; counts it."""
        key = self.count(label, outcome)
        return isinstance(outcome, UnreadableResult) if key is None else key != winner

    def agreement(self, quorum: int, about: str) -> Agreement[T]:
        """Raises CallReverted when that is what is said, and a fault when nobody gave an answer."""
        # In the order of their names where as many say one thing as another: the same votes, the same agreement.
        groups = sorted(self._groups.values(), key=lambda group: (-len(group.labels), min(group.labels)))
        faults = tuple(self._faults.values())
        if not groups:
            raise next((fault for fault in faults if isinstance(fault, BlockGone)), faults[0])
        answers = tuple(group.outcome for group in groups if not isinstance(group.outcome, KeeperError))
        is_quorate = len(groups[0].labels) >= quorum
        if isinstance(groups[0].outcome, KeeperError) and (is_quorate or not answers):
            raise groups[0].outcome
        if is_quorate:
            return Agreement(answers[:1], faults)
        return Agreement(answers, faults, self._problem(groups, quorum, about))

    def _problem(self, groups: "list[_Group[T]]", quorum: int, about: str) -> str:
        if len(groups) > 1:
            sides = ", ".join(" and ".join(group.labels) for group in groups)
            return f"The endpoints contradict each other about {about} ({sides}), and no {quorum} say the same."
        said = f"Only {' and '.join(groups[0].labels)} told {about}, and {quorum} endpoints have to agree"
        why = next(iter(self._faults.values()), None)
        return f"{said}." if why is None else f"{said}: {str(why).rstrip('.')}."


@dataclass(slots=True)
class _Group(Generic[T]):
    outcome: T | KeeperError
    labels: list[str] = field(default_factory=list[str])
