"""What a batch would do, before it is sent: the same bytes, from the keeper, to the guard.

In the next block's time by `eth_simulateV1` where the node has it, else by `eth_call` at the pinned block. The guard
answers for each rescue, so a batch that fails in part says which rescues fail and why; only when it fails as a whole
without saying why is it taken apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from keeper.chain.answers import SimulatedCall, SimulatedResult
from keeper.chain.pace import Traffic
from keeper.core.snapshot import Block
from keeper.core.units import Address
from keeper.errors import BlockGone, CallReverted, NodeRefused
from keeper.protocols.abi import interface
from keeper.protocols.guard import GUARD, RescueResult, decode_nothing_rescued, decode_results, explain_guard_revert
from keeper.protocols.guard_batch import pause_calldata

OF_THE_WHOLE_BATCH = {"CallerIsNotKeeper", "GuardIsPaused", "DeadlinePassed", "WrongSequence", "Reentered"}
"""The guard's refusals that no choice of rescues changes."""
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602


@dataclass(frozen=True, slots=True)
class Simulated:
    """The guard took the batch; a rescue may have failed all the same, its result says why."""

    results: tuple[RescueResult, ...]
    """One for each rescue, in the batch's order."""
    gas_used: int | None
    """Of the whole transaction; None by `eth_call`. A limit comes from the rescues' own gas, not from this."""

    @property
    def succeeds_whole(self) -> bool:
        return all(result.ok for result in self.results)


@dataclass(frozen=True, slots=True)
class BatchRefused:
    """The whole batch reverts and no rescue of it can be named."""

    reason: str
    data: bytes

    @property
    def is_of_the_whole(self) -> bool:
        """Whether it would be refused whichever rescues were in it."""
        error = interface(GUARD).errors.get(self.data[:4])
        return error is not None and error.name in OF_THE_WHOLE_BATCH


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What became of each rescue when the batch was tried out, by its place."""

    passed: tuple[int, ...]
    """Those that succeed together, in one batch."""
    refused: dict[int, str]
    results: dict[int, RescueResult]
    """The guard's result for every rescue that it answered for."""


class SimulationNode(Protocol):
    async def simulate_v1(
        self, calls: Sequence[SimulatedCall], block_hash: str, timestamp: int
    ) -> tuple[SimulatedResult, ...]: ...

    async def call(
        self,
        to: Address,
        data: bytes,
        block_hash: str,
        *,
        gas: int | None = None,
        sender: Address | None = None,
        traffic: Traffic = Traffic.READ,
    ) -> bytes: ...


Encode = Callable[[Sequence[int]], tuple[bytes, int]]
"""The calldata and the gas limit of a batch of these rescues only, by their places."""


class Simulator:
    def __init__(self, node: SimulationNode, guard: Address, keeper: Address) -> None:
        self._node = node
        self._guard = guard
        self._keeper = keeper
        self._has_simulate_v1 = True

    async def simulate(self, calldata: bytes, gas: int, block: Block, timestamp: int) -> Simulated | BatchRefused:
        """One batch on top of `block`; `timestamp` is the next block's. One request. Raises ChainError."""
        result = await self._run(calldata, gas, block, timestamp)
        if result.succeeded:
            # `pause` returns nothing.
            results = () if calldata == pause_calldata() else decode_results(result.data)
            return Simulated(results, result.gas_used or None)
        nothing = decode_nothing_rescued(result.data)
        if nothing is not None:
            return Simulated(nothing, result.gas_used or None)
        reason = explain_guard_revert(result.data) if result.data else result.reason or "reverted without a reason"
        return BatchRefused(reason, result.data)

    async def rehearse(self, count: int, encode: Encode, block: Block, timestamp: int) -> Rehearsal:
        """Finds the rescues that succeed together: one request, and more only if the batch fails without saying why.

        At most twice as many requests as rescues. Raises ChainError.
        """
        rehearsal = Rehearsal((), {}, {})
        return await self._add(rehearsal, tuple(range(count)), encode, block, timestamp)

    async def still_succeeds(self, calldata: bytes, gas: int, block: Block, timestamp: int) -> bool:
        """Whether every rescue of a batch that was signed earlier succeeds on top of `block`. Raises ChainError."""
        simulated = await self.simulate(calldata, gas, block, timestamp)
        return isinstance(simulated, Simulated) and simulated.succeeds_whole

    async def _add(
        self, tried: Rehearsal, more: tuple[int, ...], encode: Encode, block: Block, timestamp: int
    ) -> Rehearsal:
        """`tried` with those of `more` that succeed beside what passed already."""
        if not more:
            return tried
        places = (*tried.passed, *more)
        calldata, gas = encode(places)
        simulated = await self.simulate(calldata, gas, block, timestamp)
        if isinstance(simulated, Simulated):
            results = dict(zip(places, simulated.results, strict=True))
            failed = {place: explain_guard_revert(result.reason) for place, result in results.items() if not result.ok}
            passed = tuple(place for place in places if place not in failed)
            return Rehearsal(passed, tried.refused | failed, tried.results | results)
        if len(more) == 1 or simulated.is_of_the_whole:
            return Rehearsal(tried.passed, tried.refused | dict.fromkeys(more, simulated.reason), tried.results)
        half = len(more) // 2
        first = await self._add(tried, more[:half], encode, block, timestamp)
        return await self._add(first, more[half:], encode, block, timestamp)

    async def _run(self, calldata: bytes, gas: int, block: Block, timestamp: int) -> SimulatedResult:
        if self._has_simulate_v1:
            call = SimulatedCall(self._keeper, self._guard, calldata, gas)
            try:
                (result,) = await self._node.simulate_v1([call], block.hash, timestamp)
                return result
            except BlockGone:
                raise
            except NodeRefused as refusal:
                # Nodes have many words and codes for a method that they lack or limit; what they refuse for another
                # reason they refuse as `eth_call` too, and say so there. Only these two codes are for ever.
                self._has_simulate_v1 = refusal.code not in (METHOD_NOT_FOUND, INVALID_PARAMS)
        try:
            data = await self._node.call(
                self._guard, calldata, block.hash, gas=gas, sender=self._keeper, traffic=Traffic.SEND
            )
        except CallReverted as revert:
            return SimulatedResult(False, revert.data, 0, "")
        return SimulatedResult(True, data, 0, "")
