"""Intents, receipts and views of the chain that show only what matters to a test."""

from keeper.core.fees import FeePolicy, Fees, Market
from keeper.core.intent import Attempt, Intent, Receipt, State
from keeper.core.plan import Lane
from keeper.core.steps import View

GWEI = 10**9
NOW = 1_000_000
DEADLINE = NOW + 120
POLICY = FeePolicy(base_fee_multiple=2, replace_after_seconds=24, resend_after_seconds=12, final_after_blocks=8)
CALM = Market(base_fee_wei=10 * GWEI, tip_routine_wei=1 * GWEI, tip_critical_wei=3 * GWEI)
PLENTY_WEI = 1_000 * GWEI


def an_intent(
    state: State = State.PLANNED, *attempts: Attempt, lane: Lane = Lane.ROUTINE, ceiling_wei: int = PLENTY_WEI
) -> Intent:
    return Intent("plan-1", lane, 7, DEADLINE, ceiling_wei, None, state, attempts)


def an_attempt(
    hash: str = "0xa", *, sent_at: int | None = NOW, signed_at: int = NOW, fees: Fees | None = None
) -> Attempt:
    return Attempt(hash, b"raw " + hash.encode(), 7, fees or Fees(21 * GWEI, GWEI), signed_at, sent_at)


def a_receipt(hash: str = "0xa", *, block: int = 50, succeeded: bool = True, block_hash: str = "0x50") -> Receipt:
    return Receipt(hash, block, block_hash, succeeded, 200_000, 11 * GWEI)


def a_view(
    *receipts: Receipt,
    missing: tuple[str, ...] = (),
    block: int = 50,
    market: Market = CALM,
    chain_nonce: int | None = None,
) -> View:
    seen: dict[str, Receipt | None] = {receipt.hash: receipt for receipt in receipts}
    return View(block, market, seen | dict.fromkeys(missing), chain_nonce)
