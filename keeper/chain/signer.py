"""The hot key, and all that it ever signs.

A signer has a scope: transactions to the owner's guard, without value, that call `rebalance` or `pause`, on one chain,
within bounds of gas and fee. Whatever else it is asked for it refuses, whoever asks: nothing outside of this module
sees the key. No signer means dry run.
"""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes
from rlp.exceptions import RLPException

from keeper.core.fees import Fees
from keeper.core.units import Address
from keeper.errors import ConfigError, ProtocolError, SigningRefused
from keeper.protocols.guard_batch import TRANSACTION_GAS_MAX, keeper_selectors, pause_calldata


@dataclass(frozen=True, slots=True)
class Transaction:
    """An EIP-1559 transaction before it is signed; there is no other kind."""

    chain_id: int
    nonce: int
    to: Address
    data: bytes
    gas: int
    fees: Fees
    value_wei: int = 0


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    hash: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Scope:
    """What may be signed at all."""

    chain_id: int
    guard: Address
    max_fee_wei_max: int
    """The most per gas, whatever is at risk."""
    gas_max: int = TRANSACTION_GAS_MAX

    def check(self, transaction: Transaction) -> None:
        """Raises SigningRefused with the first reason."""
        fees = transaction.fees
        for is_wrong, reason in (
            (transaction.to != self.guard, f"it goes to {transaction.to}, not to the guard {self.guard}"),
            (transaction.value_wei != 0, f"it carries {transaction.value_wei} wei"),
            (transaction.chain_id != self.chain_id, f"it is for chain {transaction.chain_id}, not {self.chain_id}"),
            (transaction.data[:4] not in keeper_selectors(), "it calls neither rebalance nor pause"),
            (
                transaction.data[:4] == pause_calldata() and transaction.data != pause_calldata(),
                "it calls pause with something behind it",
            ),
            (not 0 < transaction.gas <= self.gas_max, f"its gas {transaction.gas} is not within {self.gas_max}"),
            (
                not 0 < fees.max_fee_wei <= self.max_fee_wei_max,
                f"its fee of {fees.max_fee_wei} wei is not within {self.max_fee_wei_max}",
            ),
            (not 0 <= fees.tip_wei <= fees.max_fee_wei, "its tip is higher than its fee"),
            (transaction.nonce < 0, "its nonce is negative"),
        ):
            if is_wrong:
                raise SigningRefused(f"The signer refuses a transaction: {reason}.")


class Signer(Protocol):
    """A keystore here or a service elsewhere."""

    @property
    def address(self) -> Address: ...

    async def sign(self, transaction: Transaction) -> SignedTransaction:
        """Raises SigningRefused for what is outside of its scope."""
        ...


class KeystoreSigner:
    """Holds a decrypted key for as long as the process lives."""

    __slots__ = ("_account", "_scope", "address")

    def __init__(self, account: LocalAccount, scope: Scope) -> None:
        self._account = account
        self._scope = scope
        self.address = Address(account.address.lower())

    def __repr__(self) -> str:
        return f"KeystoreSigner({self.address})"

    def __reduce__(self) -> str:
        raise TypeError("a signer is not copied")

    async def sign(self, transaction: Transaction) -> SignedTransaction:
        """Raises SigningRefused. Takes a third of a millisecond, so it stays on the event loop."""
        self._scope.check(transaction)
        signed = self._account.sign_transaction(
            cast(
                "dict[str, Any]",
                {
                    "type": 2,
                    "chainId": transaction.chain_id,
                    "nonce": transaction.nonce,
                    "to": bytes.fromhex(transaction.to[2:]),
                    "value": 0,
                    "data": transaction.data,
                    "gas": transaction.gas,
                    "maxFeePerGas": transaction.fees.max_fee_wei,
                    "maxPriorityFeePerGas": transaction.fees.tip_wei,
                },
            )
        )
        return SignedTransaction(signed.hash.to_0x_hex(), bytes(signed.raw_transaction))


async def open_keystore(path: Path, password: str, scope: Scope) -> KeystoreSigner:
    """Decrypts a keystore, which takes up to a second, beside the event loop. Raises ConfigError."""
    return KeystoreSigner(await asyncio.to_thread(decrypt_keystore, path, password), scope)


def decrypt_keystore(
    path: Path, password: str, path_setting: str = "[signer] keystore", password_setting: str = "[signer] password"
) -> LocalAccount:
    """The account in a keystore file (Web3 secret storage, version 3).

    Raises ConfigError, without the secret in it, that names the setting to be corrected.
    """
    try:
        document: object = json.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"The keystore {path} cannot be read: {error.strerror}; correct {path_setting}.") from None
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ConfigError(f"The keystore {path} is not JSON; correct {path_setting}.")
    try:
        key = Account.decrypt(cast("dict[str, Any]", document), password)
    except ValueError as error:
        if "MAC mismatch" not in str(error):
            raise ConfigError(f"The keystore {path} cannot be decrypted: it is damaged.") from None
        raise ConfigError(f"The password does not open the keystore {path}; correct {password_setting}.") from None
    except (KeyError, TypeError, NotImplementedError, AttributeError):
        raise ConfigError(f"{path} is not a keystore of version 3; correct {path_setting}.") from None
    return cast(LocalAccount, Account.from_key(key))


def decode_signed(raw: bytes) -> Transaction:
    """What was signed, from its bytes in the journal. Raises ProtocolError for bytes that are no such transaction."""
    try:
        fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
        return Transaction(
            chain_id=int(fields["chainId"]),
            nonce=int(fields["nonce"]),
            to=Address(f"0x{bytes(fields['to']).hex()}"),
            data=bytes(fields["data"]),
            gas=int(fields["gas"]),
            fees=Fees(int(fields["maxFeePerGas"]), int(fields["maxPriorityFeePerGas"])),
            value_wei=int(fields["value"]),
        )
    except (ValueError, TypeError, KeyError, IndexError, RLPException) as error:
        raise ProtocolError(
            f"The journal holds bytes that are no EIP-1559 transaction ({type(error).__name__})."
        ) from None
