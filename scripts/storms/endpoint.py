"""An endpoint in front of a real node that misbehaves by its mood: it is slow, refuses, lags, lies, or keeps the rules.

Which request meets which fault follows from the seed and the order of requests alone.
"""

import asyncio
import json
import os
import random
import signal
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from aiohttp import web
from eth_utils.crypto import keccak

from keeper.chain.signer import decode_signed
from scripts.storms.wire import Fault, Refusal, Wire, served

TRANSACTION_GAS_MAX = 2**24
"""EIP-7825."""
REPLACEMENT_PERCENT = 110
"""Of both fees, as in geth's pool."""
FINAL_TAGS = ("safe", "finalized")
AMOUNT_MIN, AMOUNT_MAX = 10**15, 10**30
"""What a lie about balances doubles: words of this size, which are amounts and prices."""

START_SECONDS_MAX = 10
MANY_FAULTS = (
    Fault.HANG,
    Fault.RESET,
    Fault.CUT,
    Fault.TRUNCATED,
    Fault.WRONG_ID,
    Fault.HTML,
    Fault.EMPTY,
    Fault.TOO_MANY,
    Fault.LIMIT_EXCEEDED,
    Fault.BAD_GATEWAY,
    Fault.NO_RESULT,
    Fault.LOST,
    Fault.SWALLOWED,
)


@dataclass(frozen=True, slots=True)
class Mood:
    """How an endpoint behaves for a while."""

    name: str
    faults: Sequence[Fault] = ()
    faults_percent: int = 0
    """Of its requests meet one of these."""
    delay_seconds_max: float = 0.0
    behind_blocks: int = 0
    """It knows no block that is newer than its neighbours' by less than this."""
    lies: bool = False
    """Amounts are doubled, and receipts are kept back."""
    drops_percent: int = 0
    """Of the transactions that it says to have taken are passed on to nobody."""
    cuts_calls: bool = False
    """The last word of what a call returns is missing."""
    stalls_finality: bool = False
    """The blocks that it calls safe and final stay the same."""


CALM = Mood("calm")
FLAKY = Mood("flaky", MANY_FAULTS, 5, delay_seconds_max=0.02)
STORMY = Mood("stormy", MANY_FAULTS, 25, delay_seconds_max=0.05)
LIMITED = Mood("limited", (Fault.TOO_MANY, Fault.LIMIT_EXCEEDED), 60)
DOWN = Mood("down", (Fault.RESET,), 100)
HANGING = Mood("hanging", (Fault.HANG,), 100)
LAGGING = Mood("lagging", behind_blocks=3)
LIAR = Mood("liar", lies=True)
FORGETFUL = Mood("forgetful", drops_percent=50)
MISSHAPEN = Mood("misshapen", cuts_calls=True)
STALLED = Mood("stalled", stalls_finality=True)


def _doubled(call_result: str) -> str:
    """With every word that looks like an amount or a price twice as large: every account looks different."""
    raw = bytes.fromhex(call_result[2:])
    words = (int.from_bytes(raw[at : at + 32]) for at in range(0, len(raw), 32))
    changed = (2 * word if AMOUNT_MIN <= word <= AMOUNT_MAX else word for word in words)
    return "0x" + b"".join(word.to_bytes(32) for word in changed).hex()


LIES: Mapping[str, Callable[[Any], Any]] = {
    "eth_call": _doubled,
    "eth_getBalance": lambda balance: hex(2 * int(balance, 16)),
    "eth_getTransactionReceipt": lambda _: None,
    "eth_getLogs": lambda _: [],
}
"""What a liar makes of an answer."""


class KillPoint(Enum):
    """Where a process is killed: what it asked for then."""

    READING = "its read is asked for"
    TRYING = "its batch is tried out"
    SENDING = "its signed bytes arrive and go no further"
    SENT = "its bytes were passed on and it does not know"
    LOOKING = "it asks for a receipt"


_METHODS = {
    KillPoint.READING: "eth_call",
    KillPoint.TRYING: "eth_simulateV1",
    KillPoint.SENDING: "eth_sendRawTransaction",
    KillPoint.SENT: "eth_sendRawTransaction",
    KillPoint.LOOKING: "eth_getTransactionReceipt",
}


class _GoneError(Exception):
    """Whoever asked was killed over it."""


@dataclass(slots=True)
class Killer:
    """Shared by the endpoints of one keeper: kills its process where it was told to, once."""

    pid: int = 0
    point: KillPoint | None = None
    has_killed: bool = False

    def strike(self, method: str, *, is_passed_on: bool) -> None:
        """Kills if this is the point; `is_passed_on` once the node has what was asked."""
        if self.point is None or method != _METHODS[self.point] or is_passed_on is not (self.point is KillPoint.SENT):
            return
        self.point, self.has_killed = None, True
        os.kill(self.pid, signal.SIGKILL)
        raise _GoneError


@dataclass(slots=True)
class Endpoint(Wire):
    """A wire with a mood, which may be changed at any time from any thread."""

    mood: Mood = CALM
    killer: Killer = field(default_factory=Killer)
    chance: random.Random = field(default_factory=random.Random)
    faults_met: int = 0
    _final: dict[str, Any] = field(default_factory=dict[str, Any])
    """By tag, what it said to be so last."""
    _pool: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])
    """The fees of the latest bytes that were taken, by nonce: only the keeper sends through it."""

    def next_fault(self, method: str) -> Fault | Refusal | None:
        mood = self.mood
        if mood.faults and self.chance.randrange(100) < mood.faults_percent:
            self.faults_met += 1
            return self.chance.choice(mood.faults)
        return Wire.next_fault(self, method)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.mood.delay_seconds_max:
            await asyncio.sleep(self.chance.random() * self.mood.delay_seconds_max)
        try:
            return await Wire.handle(self, request)
        except _GoneError:
            return web.Response(status=503)

    async def answer(self, asked: dict[str, Any], body: bytes) -> Any:
        method = asked["method"]
        self.killer.strike(method, is_passed_on=False)
        answer = await self._moody(asked, body)
        self.killer.strike(method, is_passed_on=True)
        return answer

    async def _moody(self, asked: dict[str, Any], body: bytes) -> Any:
        mood, method = self.mood, asked["method"]
        if method == "eth_sendRawTransaction":
            return await self._take(asked, body)
        if mood.behind_blocks and method in ("eth_getBlockByNumber", "eth_call"):
            return await self._lag(asked, body, mood.behind_blocks)
        answer = await Wire.answer(self, asked, body)
        if method == "eth_getBlockByNumber" and asked["params"][0] in FINAL_TAGS:
            tag = asked["params"][0]
            if mood.stalls_finality and tag in self._final:
                return answer | {"result": self._final[tag]}
            self._final[tag] = answer.get("result")
        if mood.lies and method in LIES and "result" in answer:
            self.faults_met += 1
            return answer | {"result": LIES[method](answer["result"])}
        if mood.cuts_calls and method == "eth_call" and len(answer.get("result", "")) > 66:
            self.faults_met += 1
            return answer | {"result": answer["result"][:-64]}
        return answer

    async def _take(self, asked: dict[str, Any], body: bytes) -> Any:
        """As a node with geth's rules for its pool; anvil alone takes what no public node would."""
        raw = bytes.fromhex(asked["params"][0][2:])
        signed = decode_signed(raw)
        if signed.gas > TRANSACTION_GAS_MAX:
            return self._refused(asked, "transaction gas limit too high (cap: 16777216)")
        fees = (signed.fees.max_fee_wei, signed.fees.tip_wei)
        before = self._pool.get(signed.nonce, fees)
        if before != fees and any(100 * new < REPLACEMENT_PERCENT * old for new, old in zip(fees, before, strict=True)):
            return self._refused(asked, "replacement transaction underpriced")
        self._pool[signed.nonce] = fees
        if self.chance.randrange(100) < self.mood.drops_percent:
            self.faults_met += 1
            return {"jsonrpc": "2.0", "id": asked["id"], "result": "0x" + keccak(raw).hex()}
        return await Wire.answer(self, asked, body)

    def _refused(self, asked: dict[str, Any], message: str) -> Any:
        return {"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32000, "message": message}}

    async def _lag(self, asked: dict[str, Any], body: bytes, blocks: int) -> Any:
        """A node that is so many blocks behind: an older head, and no state of what is newer."""
        newest = int((await self._ask("eth_blockNumber", []))["result"], 16) - blocks
        self.faults_met += 1
        if asked["method"] == "eth_getBlockByNumber":
            if asked["params"][0] == "latest":
                answer = await self._ask("eth_getBlockByNumber", [hex(max(newest, 0)), False])
                return answer | {"id": asked["id"]}
            return await Wire.answer(self, asked, body)
        pinned = asked["params"][1]["blockHash"]
        found = (await self._ask("eth_getBlockByHash", [pinned, False]))["result"]
        if found is None or int(found["number"], 16) > newest:
            return self._refused(asked, "header not found")
        return await Wire.answer(self, asked, body)

    async def _ask(self, method: str, params: list[Any]) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return await Wire.answer(self, request, json.dumps(request).encode())


@contextmanager
def endpoints(node_url: str, count: int, seed: int) -> Generator[list[Endpoint]]:
    """So many endpoints of one node, each on a port of its own, served by a thread for as long as the block runs."""
    killer = Killer()
    made = [
        Endpoint(upstream=node_url, chance=random.Random(1_000 * seed + number), killer=killer)
        for number in range(count)
    ]
    loop = asyncio.new_event_loop()
    is_up, ending = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with AsyncExitStack() as stack:
            for each in made:
                await stack.enter_async_context(served(each))
            is_up.set()
            await ending.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    try:
        if not is_up.wait(START_SECONDS_MAX):
            raise OSError("the endpoints did not begin to listen")
        yield made
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join(START_SECONDS_MAX)
        loop.close()
