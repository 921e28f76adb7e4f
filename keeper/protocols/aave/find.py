"""What accounts do with an Aave pool, by the pool's own lists: no logs, and no asset has to be named.

The bitmap of an account knows debts and collateral; what is supplied and switched off shows only in its balance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from keeper.core.units import Address
from keeper.errors import ProtocolError
from keeper.protocols.aave.topology import reserve_words
from keeper.protocols.aave.words import AccountFlags
from keeper.protocols.abi import interface, word_address
from keeper.protocols.base import Call, Discovery, Use


@dataclass(frozen=True, slots=True)
class PoolUse:
    listed: tuple[Address, ...]
    """All that the pool takes."""
    accounts: tuple[Use, ...]
    """In the order in which they were asked for."""


def uses(pool: Address, accounts: Sequence[Address]) -> Discovery[PoolUse]:
    """Three rounds. Raises ProtocolError for what is no Aave v3 pool."""
    of_pool = interface("AavePool")
    results = yield [
        Call(pool, of_pool["getReservesList"].encode()),
        *(Call(pool, of_pool["getUserConfiguration"].encode(account)) for account in accounts),
    ]
    if not results[0].success or not results[0].data:
        raise ProtocolError(f"{pool} is not an Aave v3 pool: it lists no reserves; correct its address")
    listed = tuple(Address(asset.lower()) for asset in of_pool["getReservesList"].decode(results[0].data)[0])
    if not all(result.success and len(result.data) == 32 for result in results[1:]):
        raise ProtocolError(f"the Aave pool {pool} does not say what the accounts use; correct its address")
    flags = [AccountFlags(int.from_bytes(result.data)) for result in results[1:]]

    results = yield [Call(pool, of_pool["getReserveData"].encode(asset)) for asset in listed]
    reserves = {asset: words for asset, words in zip(listed, map(reserve_words, results), strict=True) if words}

    scaled = interface("AaveToken")["scaledBalanceOf"]
    results = yield [
        Call(word_address(words[8]), scaled.encode(account)) for account in accounts for words in reserves.values()
    ]
    found: list[Use] = []
    for place, (account, of_account) in enumerate(zip(accounts, flags, strict=True)):
        balances = results[place * len(reserves) : (place + 1) * len(reserves)]
        supplied = tuple(
            asset for asset, result in zip(reserves, balances, strict=True) if result.success and any(result.data)
        )
        owed = tuple(asset for asset, words in reserves.items() if of_account.owes(int.from_bytes(words[7])))
        found.append(Use(account, supplied, owed))
    return PoolUse(listed, tuple(found))
