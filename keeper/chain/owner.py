"""Sends the owner's own transactions, one after the other, when the owner asks for it at the shell.

Nothing of the daemon comes here: the daemon has no key that could.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, cast

from eth_account.signers.local import LocalAccount

from keeper.chain.rpc import Rpc
from keeper.chain.signer import decrypt_keystore
from keeper.core.units import Address
from keeper.errors import ChainError, ConfigError
from keeper.protocols.guard_setup import OwnerCall

RECEIPT_SECONDS_MAX = 300
POLL_SECONDS = 0.25
GAS_HEADROOM = 12
"""In tenths of the estimate: the owner's calls are single, so an estimate can be trusted."""

Sender = Callable[[OwnerCall], Awaitable[str]]
"""Sends one call and returns its hash once it took effect."""


async def send_all(sender: Sender, calls: Sequence[OwnerCall]) -> list[str]:
    """The transactions' hashes. Raises ChainError at the first that reverts; those before it have taken effect."""
    return [await sender(call) for call in calls]


async def impersonated(rpc: Rpc, owner: Address) -> Sender:
    """As the owner without a key. Raises ChainError on a node that is not a local chain or a fork."""
    await rpc.impersonate(owner)

    async def send(call: OwnerCall) -> str:
        return await _settled(rpc, await rpc.send_unsigned(owner, call.to, call.data, call.value_wei), call)

    return send


def open_owner_keystore(keystore: Path, password: str, owner: Address) -> LocalAccount:
    """The owner's account. Raises ConfigError when the file cannot be opened, or is of another account."""
    account = decrypt_keystore(keystore, password, "--owner-keystore", "--owner-password")
    if account.address.lower() != owner:
        raise ConfigError(f"The keystore {keystore} is of {account.address}, and the owner is {owner}.")
    return account


async def unlocked(rpc: Rpc, account: LocalAccount, chain_id: int, tip_wei: int) -> Sender:
    """With the owner's key."""
    owner = Address(account.address.lower())
    nonce = await rpc.transaction_count(owner, pending=True)

    async def send(call: OwnerCall) -> str:
        nonlocal nonce
        head = await rpc.head()
        transaction: dict[str, Any] = {
            "chainId": chain_id,
            "nonce": nonce,
            "to": bytes.fromhex(call.to[2:]),
            "data": call.data,
            "value": call.value_wei,
            "gas": await rpc.estimate_gas(owner, call.to, call.data, call.value_wei) * GAS_HEADROOM // 10,
            "maxFeePerGas": 2 * head.base_fee_wei + tip_wei,
            "maxPriorityFeePerGas": tip_wei,
            "type": 2,
        }
        signed = account.sign_transaction(cast(Any, transaction))
        hash = await rpc.send_raw(bytes(signed.raw_transaction))
        nonce += 1
        return await _settled(rpc, hash, call)

    return send


async def _settled(rpc: Rpc, hash: str, call: OwnerCall) -> str:
    for _ in range(int(RECEIPT_SECONDS_MAX / POLL_SECONDS)):
        mined = await rpc.receipt(hash)
        if mined is not None:
            if mined.receipt.succeeded:
                return hash
            raise ChainError(f"The transaction {hash} reverted; it was to do this: {call.says}")
        await asyncio.sleep(POLL_SECONDS)
    raise ChainError(
        f"The transaction {hash} was not included within {RECEIPT_SECONDS_MAX} s; look it up before retrying."
    )
