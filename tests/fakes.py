"""In-memory stand-ins at the seams of the keeper: they answer and remember; they never assert."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from eth_utils.crypto import keccak
from web3.types import RPCEndpoint, RPCResponse

from keeper.chain.answers import FeeHistory, MinedTransaction
from keeper.chain.signer import decode_signed
from keeper.core.fees import Fees
from keeper.core.intent import Receipt
from keeper.core.snapshot import Block
from keeper.core.units import Address
from keeper.errors import BadAnswer, BlockGone, ChainError, NodeRefused, NodeUnreachable


def a_block(
    number: int = 100,
    *,
    fork: str = "",
    parent: str | None = None,
    timestamp: int | None = None,
    base_fee_wei: int = 10**9,
) -> Block:
    """A block whose hash says its number and fork; its parent is the block before it on the same fork unless said."""
    return Block(
        number=number,
        hash=_hash(number, fork),
        parent_hash=_hash(number - 1, fork) if parent is None else parent,
        timestamp=1_700_000_000 + 12 * number if timestamp is None else timestamp,
        base_fee_wei=base_fee_wei,
        gas_limit=30_000_000,
    )


def _hash(number: int, fork: str) -> str:
    return "0x" + f"{fork.encode().hex()}{number:x}".rjust(64, "0")


class FakeClock:
    """Time that passes only when somebody sleeps; then at once."""

    def __init__(self, unix: float = 1_700_000_000.0) -> None:
        self._unix = unix
        self._elapsed = 0.0

    def now(self) -> float:
        return self._unix + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self._elapsed += seconds

    def advance(self, seconds: float) -> None:
        self._elapsed += seconds


class FakeHeads:
    """A node's newest block: a schedule of (seconds, block or fault) read off a clock; remembers when it was asked."""

    def __init__(
        self, clock: FakeClock, *schedule: tuple[float, Block | ChainError], round_trip_seconds: float = 0
    ) -> None:
        self._clock = clock
        self._schedule = schedule
        self._round_trip_seconds = round_trip_seconds
        self.asked_at: list[float] = []
        self.blocks: dict[str, Block] = {}
        self.looked_up: list[int | str] = []

    async def block(self, which: int | str) -> Block:
        """By hash, of `blocks`."""
        self.looked_up.append(which)
        found = self.blocks.get(which) if isinstance(which, str) else None
        if found is None:
            raise BlockGone(f"no block {which}.")
        return found

    async def head(self) -> Block:
        now = self._clock.monotonic()
        self.asked_at.append(now)
        current = [head for seconds, head in self._schedule if seconds <= now][-1]
        self._clock.advance(self._round_trip_seconds)
        if isinstance(current, ChainError):
            raise current
        return current


@dataclass(slots=True)
class FakeHints:
    """Announcements that a test makes by hand."""

    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _hints: deque[Block | None] = field(default_factory=deque[Block | None])

    def announce(self, *blocks: Block | None) -> None:
        self._hints.extend(blocks)
        self.arrived.set()

    def take(self) -> list[Block | None]:
        taken = list(self._hints)
        self._hints.clear()
        self.arrived.clear()
        return taken


@dataclass(frozen=True, slots=True)
class FakeWanted:
    """A read of whatever a node says; of a `length` only what is as long."""

    calldata: bytes = b""
    length: int | None = None

    def check(self, block: Block, answer: bytes) -> None:
        if self.length is not None and len(answer) != self.length:
            raise BadAnswer(f"It has {len(answer)} bytes in block {block.number}.")


class FakeProvider:
    """One endpoint without a wire: it answers by method from a table, in which a callable is given the params.

    A fault among the answers is raised, a JSON-RPC error (code, message) told as one.
    """

    def __init__(self, label: str, answers: Mapping[str, Any], *, chain_id: int = 1) -> None:
        self.label = label
        self.link = 1
        self.answers: dict[str, Any] = {"eth_chainId": hex(chain_id), **answers}
        self.asked: list[str] = []
        self.held = asyncio.Event()
        """Set unless answers are held back."""
        self.held.set()

    def redact(self, text: str) -> str:
        return text

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        self.asked.append(method)
        await self.held.wait()
        answer = self.answers.get(method, (-32601, "Method not found"))
        answer = answer(params) if callable(answer) else answer
        if isinstance(answer, ChainError):
            raise answer
        if isinstance(answer, tuple):
            code, message, *data = cast(tuple[Any, ...], answer)
            error: Any = {"code": code, "message": message, **({"data": data[0]} if data else {})}
            return RPCResponse(id=1, jsonrpc="2.0", error=error)
        return RPCResponse(id=1, jsonrpc="2.0", result=answer)

    async def disconnect(self) -> None:
        return None


# A node's transaction pool --------------------------------------------------------------------------------------------


class FakePool:
    """A node that takes transactions and mines when told to. It replaces at +10 % on both fields, as geth does."""

    def __init__(self, base_fee_wei: int = 10**9) -> None:
        self.base_fee_wei = base_fee_wei
        self.nonce = 0
        self.sent: list[bytes] = []
        self.asked: list[str] = []
        """Hashes whose receipt was asked for, in order."""
        self.faults: deque[ChainError | None] = deque()
        """Instead of taking the next ones; None takes it."""
        self.receipt_faults: deque[ChainError] = deque()
        """Instead of the next receipts."""
        self.final_number: int | None = None
        """What the chain calls final; None on a chain that calls nothing so."""
        self.final_asked = 0
        self.loses_answers = False
        """Takes a transaction and says nothing."""
        self.on_send: Callable[[bytes], None] = lambda _: None
        self._pool: dict[int, tuple[str, Fees]] = {}
        self._mined: dict[str, MinedTransaction] = {}

    async def transaction_count(self, account: Address) -> int:  # noqa: ARG002
        return self.nonce

    async def receipt(self, hash: str) -> MinedTransaction | None:
        self.asked.append(hash)
        if self.receipt_faults:
            raise self.receipt_faults.popleft()
        return self._mined.get(hash)

    async def finalized_number(self) -> int | None:
        self.final_asked += 1
        return self.final_number

    async def send_raw(self, raw: bytes) -> str:
        self.on_send(raw)
        fault = self.faults.popleft() if self.faults else None
        if fault is not None:
            raise fault
        hash = self._take(raw)
        if self.loses_answers:
            raise NodeUnreachable("the node closed the connection.")
        return hash

    def _take(self, raw: bytes) -> str:
        hash = transaction_hash(raw)
        signed = decode_signed(raw)
        if signed.nonce < self.nonce:
            raise refused_by_node("nonce too low")
        waiting = self._pool.get(signed.nonce)
        if waiting is not None and waiting[0] == hash:
            raise refused_by_node("already known")
        if waiting is not None and any(
            10 * new < 11 * old
            for new, old in (
                (signed.fees.max_fee_wei, waiting[1].max_fee_wei),
                (signed.fees.tip_wei, waiting[1].tip_wei),
            )
        ):
            raise refused_by_node("replacement transaction underpriced")
        self._pool[signed.nonce] = (hash, signed.fees)
        self.sent.append(raw)
        return hash

    @property
    def has_waiting(self) -> bool:
        """Whether the next nonce's transaction is in the pool."""
        return self.nonce in self._pool

    def mine(self, block: Block, *, hash: str | None = None, succeeds: bool = True) -> None:
        """Includes the next nonce's transaction in `block`: what is in the pool, or `hash` as another node had it."""
        included = hash or self._pool[self.nonce][0]
        receipt = Receipt(included, block.number, block.hash, succeeds, 200_000, self.base_fee_wei)
        self._mined[included] = MinedTransaction(receipt, ())
        self._pool.pop(self.nonce, None)
        self.nonce += 1

    def reorganise(self) -> None:
        """Undoes the last inclusion and forgets the transaction."""
        self._mined.popitem()
        self.nonce -= 1

    def forget(self) -> None:
        """Drops everything that waits."""
        self._pool.clear()


def transaction_hash(raw: bytes) -> str:
    return f"0x{keccak(raw).hex()}"


def refused_by_node(reason: str) -> NodeRefused:
    return NodeRefused(f"the node refused eth_sendRawTransaction: {reason}.", -32000, reason)


class FakeFees:
    """eth_feeHistory; the tips are those of the last blocks, routine and critical."""

    def __init__(self, tips_wei: Sequence[tuple[int, int]] = ((10**9, 3 * 10**9),)) -> None:
        self._tips_wei = tuple(tips_wei)
        self.asked = 0

    async def fee_history(self, blocks: int, percentiles: Sequence[int]) -> FeeHistory:  # noqa: ARG002
        self.asked += 1
        return FeeHistory((10**9,) * (len(self._tips_wei) + 1), self._tips_wei)
