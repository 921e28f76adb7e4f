"""What gas costs at the moment, asked for rarely and never on the way from a head to a send."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Protocol

from keeper.chain.answers import FeeHistory
from keeper.core.data_fee import NO_DATA_FEE, DataFee
from keeper.core.fees import Lately, Market
from keeper.core.snapshot import Block

BLOCKS_BETWEEN = 10
BLOCKS_LOOKED_AT = 10
ROUTINE_PERCENTILE = 50
CRITICAL_PERCENTILE = 90


class FeeSource(Protocol):
    async def fee_history(self, blocks: int, percentiles: Sequence[int]) -> FeeHistory: ...


class FeeOracle:
    """Tips from what the last blocks paid, base fee from the block at hand."""

    def __init__(
        self, source: FeeSource, tip_wei_min: int, data_fee: Callable[[Block], Awaitable[DataFee]] | None = None
    ) -> None:
        """`tip_wei_min`: offered even when the blocks are empty; `data_fee`: what a rollup charges at a block."""
        self._source = source
        self._tip_wei_min = tip_wei_min
        self._routine_wei = tip_wei_min
        self._critical_wei = tip_wei_min
        self._read_data_fee = data_fee
        self._data_fee = NO_DATA_FEE
        self._lately = Lately()
        self._asked_at: int | None = None

    async def refresh(self, block: Block) -> None:
        """Asks at most once per ten blocks. Raises ChainError; what was known before stays."""
        if self._asked_at is not None and abs(block.number - self._asked_at) < BLOCKS_BETWEEN:
            return
        self._asked_at = block.number
        if self._read_data_fee is not None:
            self._data_fee = await self._read_data_fee(block)
        history = await self._source.fee_history(BLOCKS_LOOKED_AT, (ROUTINE_PERCENTILE, CRITICAL_PERCENTILE))
        if history.tips_wei:
            self._routine_wei = max(self._tip_wei_min, _median([row[0] for row in history.tips_wei]))
            self._critical_wei = max(self._routine_wei, _median([row[1] for row in history.tips_wei]))
        today = self.market(block)
        seen = (replace(today, base_fee_wei=base_fee_wei) for base_fee_wei in history.base_fees_wei)
        self._lately = self._lately.and_saw(block.timestamp, seen)

    def market(self, block: Block) -> Market:
        """For the block after `block`, whose base fee is at most 12.5 % higher (EIP-1559)."""
        return Market(-(-block.base_fee_wei * 9 // 8), self._routine_wei, self._critical_wei, self._data_fee)

    def storm(self, block: Block) -> Market:
        """What gas would cost in a storm that breaks now."""
        return self._lately.storm(self.market(block))


def _median(values: list[int]) -> int:
    # Not the highest: one block with one absurd tip must not decide what we pay.
    return sorted(values)[len(values) // 2]
