"""The model's chain: blocks on blocks, a base fee, a pool of waiting transactions, reorganisations.

What a block does follows from its parent, its time and the transactions in it, so a fork is simply another child.
Within a block the feeds answer first, then liquidators strike at once, then transactions run: nobody is faster than the
liquidators, and a rescue has to be there a block before it is too late.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from keeper.chain.signer import decode_signed
from keeper.core.intent import Fees
from scripts.simulation.guard import Enrolled, Moved, Ran, execute
from scripts.simulation.ledger import WAD, State, liquidate

GAS_LIMIT = 36_000_000
TRANSACTION_GAS_MAX = 2**24
"""EIP-7825."""
BUMP_PERCENT = 10


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction as its signer made it."""

    hash: str
    nonce: int
    gas: int
    fees: Fees
    data: bytes
    raw: bytes

    @classmethod
    def of(cls, hash: str, raw: bytes) -> "Sent":
        signed = decode_signed(raw)
        return cls(hash, signed.nonce, signed.gas, signed.fees, signed.data, raw)


@dataclass(frozen=True, slots=True)
class Included:
    """A transaction in a block."""

    sent: Sent
    ran: Ran
    gas_price_wei: int


@dataclass(frozen=True, slots=True)
class Block:
    number: int
    hash: str
    parent: "Block | None"
    timestamp: int
    base_fee_wei: int
    gas_used: int
    state: State
    included: tuple[Included, ...] = ()

    @property
    def moves(self) -> tuple[Moved, ...]:
        return tuple(move for each in self.included for move in each.ran.moves)

    def ancestor(self, number: int) -> "Block":
        block = self
        while block.number > number:
            if block.parent is None:
                raise ValueError(f"no block {number}")
            block = block.parent
        return block


def next_base_fee(parent: Block) -> int:
    """EIP-1559 with an elasticity of two."""
    target = GAS_LIMIT // 2
    change = parent.base_fee_wei * abs(parent.gas_used - target) // target // 8
    return parent.base_fee_wei + max(change, 1) if parent.gas_used > target else parent.base_fee_wei - change


class Chain:
    """All blocks that were ever made, and which of them are the chain now."""

    def __init__(self, guard: Enrolled, first: Block, feeds: Callable[[State], None]) -> None:
        """`feeds` lets the oracles answer at the time of a state."""
        self.guard = guard
        self.head = self.first = first
        self.blocks = {first.hash: first}
        """Of all forks, by hash."""
        self._feeds = feeds
        self._canonical = {first.number: first}
        self._with: dict[str, list[Block]] = {}
        """The blocks of any fork that have a transaction, by its hash."""
        self._salt = 0

    def block(self, number: int) -> Block | None:
        """Of the chain as it is now."""
        return self._canonical.get(number)

    def is_canonical(self, block: Block) -> bool:
        return self.block(block.number) is block

    def build(self, parent: Block, timestamp: int, waiting: Iterable[Sent], others_gas: int) -> Block:
        """A child of `parent`, not yet part of the chain; `others_gas`: what everybody else's transactions take."""
        state = parent.state.copy(timestamp)
        self._feeds(state)
        for market in self.guard.markets:
            if not state.is_oracle_mute and state.health(market) < WAD:
                liquidate(state, market)
        base_fee = next_base_fee(parent)
        room = GAS_LIMIT - others_gas
        included: list[Included] = []
        by_nonce = {sent.nonce: sent for sent in waiting}
        while (sent := by_nonce.get(state.nonce)) is not None:
            if sent.fees.max_fee_wei < base_fee or sent.gas > room:
                break
            price = min(sent.fees.max_fee_wei, base_fee + sent.fees.tip_wei)
            if state.gas_money < sent.gas * sent.fees.max_fee_wei:
                break
            ran = execute(self.guard, state, self.guard.keeper, sent.data, sent.gas)
            state = ran.state.copy(timestamp)
            state.nonce += 1
            state.gas_money -= ran.gas_used * price
            room -= ran.gas_used
            included.append(Included(sent, ran, price))
        self._salt += 1
        seed = f"{parent.hash} {timestamp} {self._salt}"
        hash = f"0x{hashlib.sha256(seed.encode()).hexdigest()}"
        block = Block(parent.number + 1, hash, parent, timestamp, base_fee, GAS_LIMIT - room, state, tuple(included))
        self.blocks[hash] = block
        for each in included:
            self._with.setdefault(each.sent.hash, []).append(block)
        return block

    def adopt(self, head: Block) -> list[Block]:
        """Makes `head` the newest block; returns what is not in the chain any more, oldest first."""
        branch = [head]
        while (parent := branch[-1].parent) is not None and not self.is_canonical(parent):
            branch.append(parent)
        gone = [self._canonical.pop(number) for number in range(branch[-1].number, self.head.number + 1)]
        self._canonical |= {block.number: block for block in branch}
        self.head = head
        return gone

    def find(self, hash: str, head: Block) -> tuple[Block, Included] | None:
        """Where a transaction is in the chain that ends with `head`."""
        for block in self._with.get(hash, ()):
            if block.number <= head.number and self.contains(head, block):
                return block, next(each for each in block.included if each.sent.hash == hash)
        return None

    def with_transactions(self) -> list[Block]:
        """The blocks of any fork that have one of ours, oldest first."""
        unique = {block.hash: block for blocks in self._with.values() for block in blocks}
        return sorted(unique.values(), key=lambda block: block.number)

    def contains(self, head: Block, block: Block) -> bool:
        """Whether `block` is in the chain that ends with `head`."""
        if self.is_canonical(head):
            return block.number <= head.number and self.is_canonical(block)
        return block.number <= head.number and head.ancestor(block.number) is block


class RefusedBySendError(Exception):
    """A node does not take a transaction; its words."""


class Pool:
    """What waits to be included; replaces at +10 % on both fee fields, as geth does."""

    def __init__(self) -> None:
        self._waiting: dict[int, Sent] = {}
        self._first: dict[int, Sent] = {}

    def waiting(self) -> Sequence[Sent]:
        return list(self._waiting.values())

    def waiting_at_first(self) -> Sequence[Sent]:
        """What a builder has that never heard of a replacement."""
        return list(self._first.values())

    def add(self, sent: Sent, state: State) -> None:
        """Raises RefusedBySendError, in geth's words."""
        if sent.gas > TRANSACTION_GAS_MAX:
            raise RefusedBySendError("transaction gas limit too high (cap: 16777216)")
        if sent.nonce < state.nonce:
            raise RefusedBySendError("nonce too low")
        if state.gas_money < sent.gas * sent.fees.max_fee_wei:
            raise RefusedBySendError("insufficient funds for gas * price + value")
        known = self._waiting.get(sent.nonce)
        if known is not None:
            if known.hash == sent.hash:
                raise RefusedBySendError("already known")
            if any(
                100 * new < (100 + BUMP_PERCENT) * old
                for new, old in (
                    (sent.fees.max_fee_wei, known.fees.max_fee_wei),
                    (sent.fees.tip_wei, known.fees.tip_wei),
                )
            ):
                raise RefusedBySendError("replacement transaction underpriced")
        self._waiting[sent.nonce] = sent
        self._first.setdefault(sent.nonce, sent)

    def drop(self, nonce: int) -> None:
        self._waiting.pop(nonce, None)

    def take_out_below(self, nonce: int) -> None:
        """What was included, and what was beaten to its nonce."""
        self._waiting = {each: sent for each, sent in self._waiting.items() if each >= nonce}
        self._first = {each: sent for each, sent in self._first.items() if each >= nonce}

    def give_back(self, sent: Sent) -> None:
        """Of a block that is gone."""
        self._waiting.setdefault(sent.nonce, sent)
