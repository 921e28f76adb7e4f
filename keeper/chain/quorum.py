"""The chain as a quorum of endpoints tells it: one that lies, lags or was taken over decides nothing by itself.

Each endpoint is asked by itself, all at once, and as soon as enough say the same that is the answer. Whoever
contradicts it about something that a block's hash decides is quarantined for a while and reported by name. What is not
fixed by a block, nonces and what is final, is what so many endpoints say at the least.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from keeper.chain.agreement import Agreement, Ballot
from keeper.chain.answers import (
    FeeHistory,
    KnownTransaction,
    MinedTransaction,
    SimulatedCall,
    SimulatedResult,
    StateOverride,
)
from keeper.chain.clock import SYSTEM_CLOCK, Clock
from keeper.chain.headvotes import STRAYS_MAX, HeadVotes, Witness
from keeper.chain.node import DOWN
from keeper.chain.pace import Traffic
from keeper.chain.pool import Behind, EndpointPool, Quarantined
from keeper.chain.rpc import BLOCK_SECONDS, Check, Question, Rpc, anything
from keeper.core.snapshot import Block
from keeper.core.units import Address
from keeper.errors import EndpointsDisagree, KeeperError, NodeRefused, NodeUnreachable, UnreadableResult
from keeper.protocols.base import Log

T = TypeVar("T")

PATIENCE_WITH_DOWN = 0.2
"""Which share of a request's time one has that is down: the others must not wait for it in every cycle."""
MISSING_METHOD_CODES = (-32601, -32602)


class QuorumRpc(Rpc):
    """As `Rpc`; its methods raise EndpointsDisagree as well. Close it with `aclose`."""

    def __init__(
        self, pool: EndpointPool, quorum: int, *, block_seconds: float = BLOCK_SECONDS, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        """`quorum`: at least two, and at most as many as the pool has endpoints."""
        super().__init__(pool, block_seconds=block_seconds, clock=clock)
        self._observe = pool.observe
        self._quorum = quorum
        alone = zip(pool.nodes, self.alone(), strict=True)
        self._witnesses = {node.label: Witness(node, rpc) for node, rpc in alone}
        self._votes = HeadVotes(quorum, block_seconds, clock)
        self._under_way: set[asyncio.Task[Any]] = set()
        """Questions, those included that are answered late, when enough others had answered."""

    async def aclose(self) -> None:
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    # Asking all -------------------------------------------------------------------------------------------------------

    async def agreed(
        self, question: Question[T], about: str, same: Callable[[T], Hashable] = lambda value: value
    ) -> Agreement[T]:
        """What a quorum says of something that all have to say the same of; `about` names it for people.

        Whoever contradicts a quorum, or garbles what it tells, is quarantined. Raises what the question raises when
        nobody gives an answer.
        """
        ballot, winner, late = await self._ballot(question, same)
        if winner is not None:
            for label, outcome in ballot.against(winner):
                self._quarantine(label, _dissent(label, outcome, about))

            def compare(label: str, task: "asyncio.Task[T | KeeperError]") -> None:
                if not task.cancelled() and ballot.is_against(winner, label, task.result()):
                    self._quarantine(label, _dissent(label, task.result(), about))

            for task, label in late.items():
                task.add_done_callback(lambda task, label=label: compare(label, task))
        return ballot.agreement(self._quorum, about)

    async def _said(self, question: Question[T], about: str, same: Callable[[T], Hashable]) -> Agreement[T]:
        """What a quorum says of something that honest endpoints may see differently for a moment."""
        ballot, _, _ = await self._ballot(question, same)
        return ballot.agreement(self._quorum, about)

    async def _ballot(
        self, question: Question[T], same: Callable[[T], Hashable]
    ) -> "tuple[Ballot[T], Hashable | None, dict[asyncio.Task[T | KeeperError], str]]":
        """Until a quorum says the same or all have answered: the votes, what won, and who has not answered yet."""
        ballot = Ballot(same)
        waiting = self._ask_each(question)
        while waiting:
            for task in await _first_of(waiting):
                ballot.count(waiting.pop(task), task.result())
            winner = ballot.winner(self._quorum)
            if winner is not None:
                return ballot, winner, waiting
        return ballot, None, waiting

    async def _each(self, question: Question[T]) -> list[T]:
        """What everybody says that says anything. Raises the first fault when nobody does."""
        outcomes = await asyncio.gather(*self._ask_each(question))
        answers = [outcome for outcome in outcomes if not isinstance(outcome, KeeperError)]
        if not answers:
            raise next(outcome for outcome in outcomes if isinstance(outcome, KeeperError))
        return answers

    def _ask_each(self, question: Question[T]) -> "dict[asyncio.Task[T | KeeperError], str]":
        """By task the label of the endpoint; the tasks end in time by themselves, and raise nothing foreseeable."""
        asked = {
            asyncio.create_task(_outcome(witness, question)): label
            for label, witness in self._witnesses.items()
            if not witness.node.is_quarantined
        }
        self._under_way.update(asked)
        for task in asked:
            task.add_done_callback(self._under_way.discard)
        return asked

    def _quarantine(self, label: str, says: str) -> None:
        node = self._witnesses[label].node
        self._observe(Quarantined(node, says, node.quarantine()))

    # Blocks -----------------------------------------------------------------------------------------------------------

    async def head(self) -> Block:
        """The highest block that a quorum knows. When there has not been a new one for too long, what fewer say."""
        waiting = self._ask_each(lambda rpc: rpc.head())
        faults: list[KeeperError] = []
        told: dict[str, Block] = {}
        while waiting:
            for task in await _first_of(waiting):
                label, outcome = waiting.pop(task), task.result()
                if isinstance(outcome, KeeperError):
                    faults.append(outcome)
                else:
                    told[label] = outcome
                    self._witnesses[label].saw(outcome)
            news = self._votes.news(told, self._witnesses)
            if news is not None:
                self._follow(news, told, waiting)
                return news
        if not told:
            raise faults[0]
        await self._ask_those_ahead(told)
        return self._votes.settled(told, self._witnesses)

    def _follow(
        self, head: Block, told: Iterable[str], late: "Mapping[asyncio.Task[Block | KeeperError], str]"
    ) -> None:
        """Holds everybody against the new head that a quorum knows, those who answer late as well."""

        def compare(label: str) -> None:
            witness = self._witnesses[label]
            if not witness.strays_from(head):
                return
            if witness.contradicts(head):
                self._quarantine(label, _contradicts(label, f"block {head.number}"))
            else:
                says = f"{label} has not told of a block near {head.number}, which a quorum of the endpoints knows, for"
                self._observe(Behind(witness.node, f"{says} {STRAYS_MAX} heads; it is behind, or stands still."))

        def arrives(label: str, task: "asyncio.Task[Block | KeeperError]") -> None:
            outcome = None if task.cancelled() else task.result()
            if isinstance(outcome, Block):
                self._witnesses[label].saw(outcome)
                compare(label)

        for label in told:
            compare(label)
        for task, label in late.items():
            task.add_done_callback(lambda task, label=label: arrives(label, task))

    async def _ask_those_ahead(self, told: Mapping[str, Block]) -> None:
        """Whether whoever is ahead knows the block that the quorum would agree on: one header more of each."""
        wanted = self._votes.wanted(told)
        ahead = [
            witness
            for label, witness in self._witnesses.items()
            if wanted is not None and label in told and witness.is_ahead_of(wanted)
        ]
        if wanted is None or not ahead:
            return
        number = wanted.number
        outcomes = await asyncio.gather(*(_outcome(witness, lambda rpc: rpc.block(number)) for witness in ahead))
        for witness, outcome in zip(ahead, outcomes, strict=True):
            if not isinstance(outcome, KeeperError):
                witness.hashes[outcome.number] = outcome.hash

    async def block(self, which: int | str) -> Block:
        return (await self._said(lambda rpc: rpc.block(which), f"block {which}", lambda block: block)).single()

    async def finalized_number(self) -> int | None:
        numbers = await self._each(lambda rpc: rpc.finalized_number())
        return self._at_least([number for number in numbers if number is not None])

    def _at_least(self, numbers: Sequence[int]) -> int | None:
        """The highest number that a quorum says is reached; of fewer endpoints the lowest."""
        ranked = sorted(numbers, reverse=True)
        return ranked[min(self._quorum, len(ranked)) - 1] if ranked else None

    # State ------------------------------------------------------------------------------------------------------------

    async def call(
        self,
        to: Address,
        data: bytes,
        block_hash: str,
        *,
        gas: int | None = None,
        sender: Address | None = None,
        overrides: Mapping[Address, StateOverride] | None = None,
        traffic: Traffic = Traffic.READ,
        check: Check = anything,
    ) -> bytes:
        def question(rpc: Rpc) -> Any:
            return rpc.call(
                to, data, block_hash, gas=gas, sender=sender, overrides=overrides, traffic=traffic, check=check
            )

        # Not a reason for a quarantine: nodes differ in how much gas they grant and in what they take over.
        return _tried_out(await self._said(question, f"a call to {to}", lambda answer: answer))

    async def code(self, account: Address, block_hash: str) -> bytes:
        return (await self.agreed(lambda rpc: rpc.code(account, block_hash), f"the code at {account}")).single()

    async def balance(self, account: Address, block_hash: str) -> int:
        return (await self.agreed(lambda rpc: rpc.balance(account, block_hash), f"the balance of {account}")).single()

    async def storage(self, account: Address, slot: int, block_hash: str) -> int:
        return (await self.agreed(lambda rpc: rpc.storage(account, slot, block_hash), f"a slot of {account}")).single()

    async def transaction_count(self, account: Address, *, pending: bool = False) -> int:
        counts = await self._each(lambda rpc: rpc.transaction_count(account, pending=pending))
        return self._at_least(counts) or 0

    async def logs(self, address: Address, topics: Sequence[bytes | None], first: int, last: int) -> tuple[Log, ...]:
        said = await self._said(
            lambda rpc: rpc.logs(address, topics, first, last), f"the logs of {address}", lambda logs: logs
        )
        return said.single()

    # Transactions -----------------------------------------------------------------------------------------------------

    async def fee_history(self, blocks: int, percentiles: Sequence[int]) -> FeeHistory:
        """The one in the middle by the next base fee: neither the dearest nor the cheapest decides."""
        histories = await self._each(lambda rpc: rpc.fee_history(blocks, percentiles))
        return sorted(histories, key=lambda history: history.base_fees_wei[-1])[len(histories) // 2]

    async def receipt(self, hash: str) -> MinedTransaction | None:
        said = await self._said(lambda rpc: rpc.receipt(hash), f"the receipt of {hash}", lambda mined: mined)
        # Whoever has the block that it is in tells it a moment earlier.
        return said.answers[0] if said.problem is None or len(said.answers) == 1 else None

    async def transaction(self, hash: str) -> KnownTransaction | None:
        said = await self._said(lambda rpc: rpc.transaction(hash), f"transaction {hash}", lambda known: known)
        return next((known for known in said.answers if known is not None), None)

    async def simulate_v1(
        self, calls: Sequence[SimulatedCall], block_hash: str, timestamp: int
    ) -> tuple[SimulatedResult, ...]:
        """Raises EndpointsDisagree unless a quorum, or without one every endpoint in reach, says the same."""
        said = await self._said(
            lambda rpc: rpc.simulate_v1(calls, block_hash, timestamp),
            "what the batch would do",
            lambda results: tuple((result.succeeded, result.data) for result in results),
        )
        missing = next((fault for fault in said.faults if _lacks_the_method(fault)), None)
        if said.problem is not None and missing is not None:
            # By `eth_call` it can be put to all of them.
            raise missing
        return _tried_out(said)


async def _first_of(waiting: "Mapping[asyncio.Task[T], str]") -> "list[asyncio.Task[T]]":
    """Those that are done, at least one, in the order in which they were asked."""
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    return [task for task in waiting if task in done]


async def _outcome(witness: Witness, question: Question[T]) -> T | KeeperError:
    """The answer, or the fault as a value."""
    node = witness.node
    seconds = node.timeout_seconds * PATIENCE_WITH_DOWN if node.failing > DOWN else None
    try:
        async with asyncio.timeout(seconds):
            return await question(witness.rpc)
    except TimeoutError:
        node.disappoints()
        return NodeUnreachable(f"{node.label} did not answer within {seconds:g} s, and not before either.")
    except KeeperError as fault:
        return fault


def _dissent(label: str, outcome: object, about: str) -> str:
    """How an endpoint differs from a quorum, as a sentence."""
    return str(outcome).rstrip(". ") if isinstance(outcome, UnreadableResult) else _contradicts(label, about)


def _contradicts(label: str, about: str) -> str:
    return f"{label} contradicts a quorum of the endpoints about {about}"


def _tried_out(said: Agreement[T]) -> T:
    """What a quorum says, or without one every endpoint that could be reached. Raises EndpointsDisagree."""
    if said.problem is not None:
        refusal = next((fault for fault in said.faults if isinstance(fault, NodeRefused)), None)
        if refusal is not None:
            raise EndpointsDisagree(f"{said.problem.rstrip('.')}, and not every endpoint: {refusal}") from None
    return said.single()


def _lacks_the_method(fault: KeeperError) -> bool:
    return isinstance(fault, NodeRefused) and fault.code in MISSING_METHOD_CODES
