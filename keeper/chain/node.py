"""One endpoint on one chain: paced, bounded, checked, and measured.

A `Node` lets no answer out before the node at the other end of the present connection was asked for its chain id. What
it is spoken to through is a `Provider`: the wire in a daemon, a model of a chain where one is simulated.
"""

import asyncio
from typing import Any, Protocol

from web3.types import RPCEndpoint, RPCResponse

from keeper.chain.answers import as_int
from keeper.chain.clock import SYSTEM_CLOCK, Clock
from keeper.chain.pace import Limits, Pace, Traffic
from keeper.chain.refusals import fault_in
from keeper.errors import BadAnswer, ChainError, NodeUnreachable, RateLimited, WrongChain

WEIGHT = 1 / 8
"""Of the newest request in what is known of an endpoint."""
PRESUMED_SECONDS = 0.5
"""Of an endpoint that was not asked yet: one that is known to be quick is not given up to try it out."""
DOWN = 0.5
"""An endpoint of which so large a share of the requests failed counts as down."""
QUARANTINE_SECONDS_MIN = 60.0
QUARANTINE_SECONDS_MAX = 600.0
"""Twice as long each time, and never for good: a node that was repaired is needed."""
FORGIVEN_SECONDS = 60.0
"""After so long half of what it failed is forgotten: an endpoint that is not asked could not make up for it."""


class Provider(Protocol):
    """What `HttpProvider` offers: JSON-RPC to one node."""

    @property
    def label(self) -> str:
        """The endpoint as people may see it."""
        ...

    @property
    def link(self) -> int:
        """Counts up when the connection is a new one: what was learnt about the node before may not hold."""
        ...

    def redact(self, text: str) -> str:
        """`text`, on one line and bounded, without what is secret about the endpoint."""
        ...

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """The node's answer, an error of its own included. Raises NodeUnreachable, RateLimited, BadAnswer or
        NodeRefused."""
        ...

    async def disconnect(self) -> None: ...


class Node:
    """One endpoint, with what is known of it."""

    def __init__(self, provider: Provider, chain_id: int, limits: Limits, clock: Clock = SYSTEM_CLOCK) -> None:
        self.provider = provider
        self.timeout_seconds = limits.timeout_seconds
        self.pace = Pace(limits, clock)
        self._clock = clock
        self._chain_id = chain_id
        self._verified_link = 0
        """The link of the provider at which the node told the right chain id."""
        self._verifying = asyncio.Lock()
        self._latency_seconds: float | None = None
        self._failing = 0.0
        self._failing_at = clock.monotonic()

        self._quarantined_until = 0.0
        self._quarantine_seconds = QUARANTINE_SECONDS_MIN

    @property
    def label(self) -> str:
        return self.provider.label

    @property
    def latency_seconds(self) -> float:
        """Of its answers, the newest weighing most."""
        return PRESUMED_SECONDS if self._latency_seconds is None else self._latency_seconds

    @property
    def failing(self) -> float:
        """Which share of the requests failed, the newest weighing most, and the less the longer ago it was."""
        return self._failing * 2 ** (-(self._clock.monotonic() - self._failing_at) / FORGIVEN_SECONDS)

    @property
    def expected_seconds(self) -> float:
        """Until it answers; a request that fails costs a whole deadline. The smaller, the better the endpoint."""
        return self.latency_seconds + self.failing * self.timeout_seconds

    async def request(self, method: str, params: Any, traffic: Traffic) -> RPCResponse:
        """The node's answer, an error of its own included.

        Raises NodeUnreachable after the deadline, RateLimited while the endpoint wants to be left alone, WrongChain,
        and what the provider raises.
        """
        rest = self.pace.rest_seconds
        if rest and traffic is Traffic.READ:
            raise RateLimited(f"{self.label} wants to be left alone for {rest:.0f} s more.", rest)
        asked_at = self._clock.monotonic()
        try:
            answer = await self._request(method, params, traffic)
        except RateLimited as fault:
            self.pace.refused(asked_at, fault.retry_after_seconds)
            self.disappoints()
            raise
        except ChainError:
            self.disappoints()
            raise
        self.pace.answered()
        self._fails(0)
        seconds, before = self._clock.monotonic() - asked_at, self._latency_seconds
        self._latency_seconds = seconds if before is None else before + WEIGHT * (seconds - before)
        return answer

    def fault_in(self, answer: RPCResponse, method: str) -> ChainError | None:
        """The error in an answer of this node as a fault of ours; None if there is none."""
        return fault_in(answer, method, self.label, self.provider.redact)

    @property
    def is_quarantined(self) -> bool:
        """Whether it is not asked for its word, because others contradicted it."""
        return self._clock.monotonic() < self._quarantined_until

    def quarantine(self) -> float:
        """From now on, for so many seconds as it returns; longer if it came out of one not long ago."""
        now = self._clock.monotonic()
        is_again = self._quarantined_until and now - self._quarantined_until < QUARANTINE_SECONDS_MAX
        seconds = min(2 * self._quarantine_seconds, QUARANTINE_SECONDS_MAX) if is_again else QUARANTINE_SECONDS_MIN
        self._quarantine_seconds, self._quarantined_until = seconds, now + seconds
        return seconds

    def disappoints(self) -> None:
        """It failed, or took longer than there was time for: another one is better."""
        self._fails(1)

    def _fails(self, part: int) -> None:
        self._failing = self.failing + WEIGHT * (part - self.failing)
        self._failing_at = self._clock.monotonic()

    async def _request(self, method: str, params: Any, traffic: Traffic) -> RPCResponse:
        try:
            async with asyncio.timeout(self.timeout_seconds), self.pace.lane(traffic):
                answer = await self.provider.make_request(RPCEndpoint(method), params)
                # After the answer and not before the question: a connection is known to be new only once it was used.
                await self._verify()
                return answer
        except TimeoutError:
            pass
        raise NodeUnreachable(f"{self.label} did not answer {method} within {self.timeout_seconds:g} s.")

    async def _verify(self) -> None:
        if self._verified_link == self.provider.link:
            return
        async with self._verifying:
            link = self.provider.link
            if self._verified_link == link:
                return
            answer = await self.provider.make_request(RPCEndpoint("eth_chainId"), [])
            try:
                told = as_int(answer.get("result"))
            except BadAnswer:
                raise BadAnswer(f"{self.label} does not tell its chain id.") from None
            if told != self._chain_id:
                raise WrongChain(
                    f"{self.label} is a node of chain {told} and the configuration says {self._chain_id}; "
                    "correct [chain] rpc_url or chain_id."
                )
            self._verified_link = link
