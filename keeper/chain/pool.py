"""All endpoints of the chain behind one `request`.

The best endpoint is asked; when it fails, or has had its share of the time, the next one is asked as well, and the
first answer counts. What cannot be read is no answer, so whoever asks says how it is read. What is sent goes to all of
them. The pool is itself a web3 provider, so that web3 code can run over the same limits.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

from web3.providers.async_base import AsyncJSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from keeper.chain.clock import SYSTEM_CLOCK, Clock
from keeper.chain.node import Node
from keeper.chain.pace import Limits, Traffic
from keeper.chain.provider import HttpProvider
from keeper.chain.refusals import SEND
from keeper.errors import (
    BadAnswer,
    CallReverted,
    ChainError,
    NodeRefused,
    NodeUnreachable,
    ProtocolError,
    RateLimited,
    UnreadableResult,
)

CALL = "eth_call"
"""What decisions rest on: whoever garbles it where another endpoint does not is quarantined for it."""
CLEARLY_BETTER = 2
NOTICEABLE_SECONDS = 0.25
"""So many times quicker, and by so much, must another endpoint be to be asked first: to go to and fro between equals
shows two views."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to an endpoint has ended."""

    node: Node
    method: str
    result: str
    """`answered`, `refused` or the name of the fault."""
    fault: ChainError | None = None
    """Why there was no answer."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An endpoint contradicted a quorum, or garbled what another one told: for a while it is not asked for its word."""

    node: Node
    says: str
    """What it did, as a sentence."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Behind:
    """An endpoint's newest block has been an old one for some time."""

    node: Node
    says: str


Event: TypeAlias = Asked | Quarantined | Behind
Observer: TypeAlias = Callable[[Event], None]
Read: TypeAlias = Callable[[Any], Any]
"""What to make of a result. Raises BadAnswer or ProtocolError for one that cannot be what was asked for."""


def ignore(_event: Event) -> None:
    pass


def as_it_is(result: Any) -> Any:
    return result


@dataclass(frozen=True, slots=True)
class Told:
    """An answer, an error in it included, and who gave it."""

    node: Node
    answer: RPCResponse
    fault: ChainError | None
    """The error in it."""
    value: Any
    """What was made of its result; None where there is an error instead."""

    @property
    def is_of_the_chain(self) -> bool:
        """Whether every other node would say the same: a result, or a call that reverts."""
        return self.fault is None or isinstance(self.fault, CallReverted)


class EndpointPool(AsyncJSONBaseProvider):
    """Closed by `disconnect`, or on leaving it as a context manager."""

    global_ccip_read_enabled = False

    def __init__(self, nodes: Sequence[Node], observe: Observer = ignore) -> None:
        """`nodes`: at least one, the one that is preferred first; all of the same chain."""
        super().__init__()
        self.nodes = tuple(nodes)
        self.observe = observe
        self._first = self.nodes[0]
        """Whoever answered last."""
        self._timeout_seconds = max(node.timeout_seconds for node in nodes)
        self._sending: set[asyncio.Task[Told]] = set()
        """To other endpoints, after one has taken it."""

    @property
    def label(self) -> str:
        """The endpoints as people may see them."""
        return " and ".join(node.label for node in self.nodes)

    def alone(self) -> "list[EndpointPool]":
        """A pool of each endpoint by itself."""
        return [EndpointPool([node], self.observe) for node in self.nodes]

    async def request(self, method: str, params: Any, traffic: Traffic = Traffic.READ) -> RPCResponse:
        """As `told`."""
        return (await self.told(method, params, traffic)).answer

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """web3's way in."""
        return await self.request(method, params, Traffic.SEND if method == SEND else Traffic.READ)

    async def told(self, method: str, params: Any, traffic: Traffic = Traffic.READ, read: Read = as_it_is) -> Told:
        """An endpoint's answer, an error of its own included.

        Raises what `Node.request` raises and UnreadableResult, of the endpoint that was asked first, when none
        answered.
        """
        if method == SEND:
            return await self._send(params)
        return await self._ask_in_turn(self._ranked(), method, params, traffic, read)

    async def each(self, method: str, params: Any, read: Read = as_it_is) -> list[Told]:
        """What every endpoint says that answers."""
        asked = (self._ask(node, method, params, Traffic.READ, read) for node in self.nodes)
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, ChainError):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, Told) and outcome.fault is None]

    def prefer(self, node: Node) -> None:
        """Asks this endpoint first as long as no other is clearly better."""
        self._first = node

    async def disconnect(self) -> None:
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        for node in self.nodes:
            await node.provider.disconnect()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()

    # --------------------------------------------------------------------------------------------------------------

    def _ranked(self) -> list[Node]:
        """The endpoints, the best one first."""
        ranked = sorted(self.nodes, key=lambda node: (not _is_at_hand(node), node.expected_seconds))
        best, first = ranked[0], self._first
        enough = CLEARLY_BETTER * best.expected_seconds + NOTICEABLE_SECONDS
        if _is_at_hand(first) and first.expected_seconds <= enough:
            best = first
        return [best, *(node for node in ranked if node is not best)]

    async def _ask(self, node: Node, method: str, params: Any, traffic: Traffic, read: Read = as_it_is) -> Told:
        try:
            answer = await node.request(method, params, traffic)
            fault = node.fault_in(answer, method)
            value = None if fault is not None else _value(node, method, answer.get("result"), read)
        except ChainError as fault:
            self.observe(Asked(node, method, type(fault).__name__, fault))
            raise
        self.observe(Asked(node, method, "answered" if fault is None else "refused"))
        return Told(node, answer, fault, value)

    async def _ask_in_turn(self, order: Sequence[Node], method: str, params: Any, traffic: Traffic, read: Read) -> Told:
        if len(order) == 1:
            return await self._ask(order[0], method, params, traffic, read)
        garbled: dict[Node, UnreadableResult] = {}
        asked: dict[asyncio.Task[Told], Node] = {}
        refusal: Told | None = None
        fault: ChainError | None = None
        patience = self._timeout_seconds / len(order)
        left = list(order)
        ends_at = asyncio.get_running_loop().time() + self._timeout_seconds
        try:
            while left or asked:
                if left:
                    node = left.pop(0)
                    asked[asyncio.create_task(self._ask(node, method, params, traffic, read))] = node
                seconds = ends_at - asyncio.get_running_loop().time()
                done, late = await asyncio.wait(
                    asked, timeout=min(patience, seconds) if left else seconds, return_when=asyncio.FIRST_COMPLETED
                )
                for task in [task for task in asked if task in done]:
                    node = asked.pop(task)
                    try:
                        told = task.result()
                    except ChainError as problem:
                        fault = fault or problem
                        if isinstance(problem, UnreadableResult):
                            garbled[node] = problem
                        continue
                    if told.is_of_the_chain:
                        self._first = told.node
                        self._quarantine(garbled, method)
                        return told
                    refusal = refusal or told
                if not done:
                    for task in late:
                        asked[task].disappoints()
                    if not left:
                        break
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        if refusal is not None:
            return refusal
        raise fault or NodeUnreachable(f"{self.label} did not answer {method} within {self._timeout_seconds:g} s.")

    def _quarantine(self, garbled: Mapping[Node, UnreadableResult], method: str) -> None:
        """Those that garbled what another one told."""
        for node, fault in garbled.items():
            if method == CALL:
                self.observe(Quarantined(node, str(fault).rstrip(". "), node.quarantine()))

    async def _send(self, params: Any) -> Told:
        """To all endpoints: taken by one is taken, and refused is only what all refuse.

        When nobody says that it took it, an endpoint that may have taken it without a word comes before one that
        refused: what became of it is not known.
        """
        asked = [asyncio.create_task(self._ask(node, SEND, params, Traffic.SEND)) for node in self.nodes]
        self._sending.update(asked)
        for task in asked:
            task.add_done_callback(self._sending.discard)
        refusal: Told | None = None
        faults: list[ChainError] = []
        for each in asyncio.as_completed(asked):
            try:
                told = await each
            except ChainError as fault:
                faults.append(fault)
                continue
            if told.fault is None:
                for task in asked:
                    task.add_done_callback(_look)
                return told
            refusal = refusal or told
        unknown = next((fault for fault in faults if not _was_turned_away(fault)), None)
        if refusal is not None and unknown is None:
            return refusal
        raise unknown or faults[0]


def _is_at_hand(node: Node) -> bool:
    """Whether it may be asked now, and may be believed."""
    return not node.pace.rest_seconds and not node.is_quarantined


def _value(node: Node, method: str, result: Any, read: Read) -> Any:
    """What is made of a result; one that cannot be read is the endpoint's failure as much as none at all."""
    try:
        return read(result)
    except (BadAnswer, ProtocolError) as problem:
        node.disappoints()
        reason = str(problem).rstrip(". ")
    raise UnreadableResult(f"{node.label} answered {method} with what cannot be read: {reason}.")


def _was_turned_away(fault: ChainError) -> bool:
    """Whether a request did certainly not reach a node's pool of transactions."""
    return isinstance(fault, RateLimited | NodeRefused) or (isinstance(fault, NodeUnreachable) and not fault.was_asked)


def _look(task: "asyncio.Task[Told]") -> None:
    """A fault that nobody waits for is no fault of the program's."""
    if not task.cancelled():
        task.exception()


def open_pool(
    url: str,
    chain_id: int,
    limits: Limits | None = None,
    observe: Observer = ignore,
    clock: Clock = SYSTEM_CLOCK,
) -> EndpointPool:
    """A pool of the one endpoint at `url`; nothing is opened before the first request."""
    return EndpointPool([Node(HttpProvider(url), chain_id, limits or Limits(), clock)], observe)
