"""The single read of a cycle: one `eth_call` to Multicall3, pinned to a block's hash.

It is cut into several only when a node does not grant the gas or take the bytes, or when a call burnt what the others
needed; where, is remembered. A cut never parts a call that changes state from those that read it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from keeper.chain.clock import SYSTEM_CLOCK, Clock
from keeper.chain.rpc import Check, Rpc
from keeper.core.snapshot import Block
from keeper.errors import BadAnswer, BlockGone, ChainError, NodeRefused
from keeper.protocols.abi import interface
from keeper.protocols.base import Call, CallResult, Discovery
from keeper.protocols.multicall import (
    FAILED_WITHOUT_A_WORD,
    MULTICALL3,
    decode_aggregate3,
    decode_calls,
    encode_aggregate3,
    encode_results,
    join_answers,
)

T = TypeVar("T")

BEHIND_SECONDS = (0.1, 0.3)
"""How long to wait for a node that does not have a block yet of which another one told us, before each further try."""
TOO_MUCH_WORDS = ("out of gas", "outofgas", "gas limit", "intrinsic gas", "too large", "too big", "response size")
TOO_LARGE = 413
"""HTTP's code for a body of which a node, or what stands before it, does not take so much."""
PIECES_MAX = 16
READS_REMEMBERED = 4
"""For so many different reads it is remembered where they are cut; a keeper has one, and a new one now and then."""


class Wanted(Protocol):
    """What is to be read in every cycle."""

    @property
    def calldata(self) -> bytes:
        """Of `aggregate3`."""
        ...

    def check(self, block: Block, answer: bytes) -> None:
        """Raises BadAnswer or ProtocolError for an answer that cannot be that of this block."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read at a block."""

    answer: bytes
    """What `aggregate3` answers; what several endpoints answer that do not agree, for `Portfolio.decode`."""
    problem: str | None = None
    """Why fewer endpoints agree on it than must, as a sentence; None: enough do."""


class Reader:
    """Carries prebuilt calldata to the node and the answer back; what the bytes mean is its caller's business."""

    def __init__(self, rpc: Rpc, gas: int | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        """`gas`: what a read may use; None leaves it to the node (usually 50 million)."""
        self._rpc = rpc
        self._gas = gas
        self._clock = clock
        self._cuts: dict[bytes, tuple[int, ...]] = {}
        """By calldata, before which calls it is cut."""
        self._hopeless: dict[bytes, frozenset[int]] = {}
        """By calldata, which calls fail without a word wherever it is cut."""

    async def read(self, wanted: Wanted, block: Block) -> Reading:
        """What `aggregate3` answers at that very block; an endpoint whose answer cannot be that has given none.

        Raises BlockGone when the block was reorganised away, and ChainError when the node does not grant what it takes.
        """

        def check(answer: bytes) -> None:
            wanted.check(block, answer)

        about = f"the state at block {block.number}"
        agreement = await self._rpc.agreed(lambda rpc: self._read(rpc, wanted.calldata, block, check), about)
        return Reading(join_answers(agreement.answers), agreement.problem)

    async def aggregate(self, calls: Sequence[Call], block: Block) -> list[CallResult]:
        """The results of calls that are asked rarely, in their order; as `read`."""
        if not calls:
            return []

        def check(answer: bytes) -> None:
            decode_aggregate3(answer, len(calls))

        about = f"the state at block {block.number}"
        agreement = await self._rpc.agreed(lambda rpc: self._read(rpc, encode_aggregate3(calls), block, check), about)
        return decode_aggregate3(agreement.single(), len(calls))

    async def discover(self, discovery: Discovery[T], block: Block) -> T:
        """Runs a discovery to its end, one read a round, all at the same block."""
        calls = next(discovery)
        while True:
            try:
                calls = discovery.send(await self.aggregate(calls, block))
            except StopIteration as found:
                return found.value

    async def _read(self, rpc: Rpc, calldata: bytes, block: Block, check: Check) -> bytes:
        """At one endpoint, or at whichever answers."""
        cuts = self._cuts.get(calldata)
        if cuts is not None:
            return await self._in_pieces(rpc, calldata, block, cuts)
        try:
            answer = await self._ask(rpc, calldata, block, check)
        except NodeRefused as refusal:
            seam = _middle(decode_calls(calldata)) if _is_too_much(refusal) else None
            if seam is None:
                raise _not_granted(rpc, calldata, refusal) if _is_too_much(refusal) else refusal from None
            return await self._in_pieces(rpc, calldata, block, (seam,))
        if answer.count(FAILED_WITHOUT_A_WORD) > 1:
            return await self._without_starving(rpc, calldata, block, answer)
        return answer

    async def _ask(self, rpc: Rpc, calldata: bytes, block: Block, check: Check) -> bytes:
        def check_code(answer: bytes) -> None:
            if not answer:
                raise BadAnswer(f"There is no Multicall3 at {MULTICALL3} in block {block.number} of this chain.")
            check(answer)

        for seconds in BEHIND_SECONDS:
            try:
                return await rpc.call(MULTICALL3, calldata, block.hash, gas=self._gas, check=check_code)
            except BlockGone:
                await self._clock.sleep(seconds)
        return await rpc.call(MULTICALL3, calldata, block.hash, gas=self._gas, check=check_code)

    # In several pieces ------------------------------------------------------------------------------------------------

    async def _in_pieces(self, rpc: Rpc, calldata: bytes, block: Block, cuts: Sequence[int]) -> bytes:
        """Cut before these calls, and once more wherever a piece is refused; remembers where."""
        calls = decode_calls(calldata)
        edges = [0, *cuts, len(calls)]
        results: list[CallResult] = []
        place, answered = 0, 0
        while place + 1 < len(edges):
            start, end = edges[place : place + 2]
            try:
                results += await self._piece(rpc, calls[start:end], block)
                answered += 1
            except NodeRefused as refusal:
                if not _is_too_much(refusal):
                    raise
                seam = _middle(calls[start:end])
                if seam is not None and len(edges) <= PIECES_MAX:
                    edges.insert(place + 1, start + seam)
                    continue
                # Nothing is known of these calls; the others are not to suffer for it.
                results += [CallResult(False, b"")] * (end - start)
            place += 1
        if not answered:
            raise ChainError(f"{rpc.label} grants the gas for none of {len(calls)} calls; use a node that allows more.")
        _remember(self._cuts, calldata, tuple(edges[1:-1]))
        return encode_results(results)

    async def _piece(self, rpc: Rpc, calls: Sequence[Call], block: Block) -> list[CallResult]:
        """With the block's time in front, so that each piece is known to be of this block."""
        clock = Call(MULTICALL3, interface("Multicall3")["getCurrentBlockTimestamp"].encode())

        def check(answer: bytes) -> None:
            time = decode_aggregate3(answer, len(calls) + 1)[0]
            if not time.success or int.from_bytes(time.data) != block.timestamp:
                raise BadAnswer(f"It is a part of a read for another block than {block.number}.")

        answer = await self._ask(rpc, encode_aggregate3([clock, *calls]), block, check)
        return decode_aggregate3(answer, len(calls) + 1)[1:]

    async def _without_starving(self, rpc: Rpc, calldata: bytes, block: Block, answer: bytes) -> bytes:
        """The answer, or a better one when a call that fails burnt the gas that the calls after it need.

        Those calls are set apart, one after the other, as long as fewer fail for it.
        """
        calls = decode_calls(calldata)
        failed = _failed(decode_aggregate3(answer, len(calls)))
        suspects = [] if failed <= self._hopeless.get(calldata, frozenset()) else sorted(failed)
        cuts: tuple[int, ...] = ()
        while len(suspects) > 1 and len(cuts) < PIECES_MAX:
            around = _around(calls, suspects[0])
            wider = tuple(sorted({*cuts, *around}))
            apart = await self._in_pieces(rpc, calldata, block, wider)
            still = _failed(decode_aggregate3(apart, len(calls)))
            if not still < failed:
                break
            answer, failed, cuts = apart, still, wider
            suspects = [place for place in sorted(still) if place >= max(around, default=0)]
        self._cuts.pop(calldata, None)
        if cuts:
            _remember(self._cuts, calldata, cuts)
        else:
            _remember(self._hopeless, calldata, failed)
        return answer


def _remember(known: dict[bytes, T], calldata: bytes, what: T) -> None:
    known.pop(calldata, None)
    known[calldata] = what
    while len(known) > READS_REMEMBERED:
        del known[next(iter(known))]


def _is_too_much(refusal: NodeRefused) -> bool:
    return refusal.code == TOO_LARGE or any(words in refusal.reason.lower() for words in TOO_MUCH_WORDS)


def _not_granted(rpc: Rpc, calldata: bytes, refusal: NodeRefused) -> ChainError:
    return ChainError(
        f"{rpc.label} does not grant the gas for a read of {len(calldata)} bytes of calls ({refusal.reason}); use a "
        "node that allows more gas in eth_call."
    )


def _seams(calls: Sequence[Call]) -> list[int]:
    """Before which calls a read may be cut: where another contract is called than just before."""
    return [place for place in range(1, len(calls)) if calls[place].to != calls[place - 1].to]


def _middle(calls: Sequence[Call]) -> int | None:
    """The seam nearest to the middle; None where there is no seam."""
    return min(_seams(calls), key=lambda seam: abs(2 * seam - len(calls)), default=None)


def _around(calls: Sequence[Call], place: int) -> set[int]:
    """The seams before and after a call."""
    seams = _seams(calls)
    return {*[seam for seam in seams if seam <= place][-1:], *[seam for seam in seams if seam > place][:1]}


def _failed(results: Sequence[CallResult]) -> frozenset[int]:
    """Which calls failed without a word, as one does that runs out of gas."""
    return frozenset(place for place, result in enumerate(results) if not result.success and not result.data)
