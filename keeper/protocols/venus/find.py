"""What accounts have in isolated pools of Venus, by the pools' own lists: no logs, and no market has to be named."""

from collections.abc import Sequence
from dataclasses import dataclass

from keeper.core.units import Address
from keeper.errors import ProtocolError
from keeper.protocols.abi import interface, word_address
from keeper.protocols.base import Call, CallResult, Discovery, Use
from keeper.protocols.venus.topology import addresses_in


@dataclass(frozen=True, slots=True)
class PoolUse:
    comptroller: Address
    underlyings: dict[Address, Address]
    """Of every market that the pool lists, in its order."""
    accounts: tuple[Use, ...]
    """In the order in which they were asked for; of markets, not underlyings."""


def pools(registry: Address) -> Discovery[tuple[Address, ...]]:
    """The comptrollers of all pools of a chain: one round. Raises ProtocolError for what is no registry of Venus."""
    get_all = interface("VenusPoolRegistry")["getAllPools"]
    (result,) = yield [Call(registry, get_all.encode())]
    if not result.success or not result.data:
        raise ProtocolError(f"{registry} is not Venus's registry of pools: it lists none")
    (listed,) = get_all.decode(result.data)
    return tuple(Address(comptroller.lower()) for _, _, comptroller, _, _ in listed)


def uses(comptroller: Address, accounts: Sequence[Address]) -> Discovery[PoolUse]:
    """Two rounds. Raises ProtocolError for what is no isolated pool."""
    of_pool, of_market = interface("VenusComptroller"), interface("VToken")
    results = yield [Call(comptroller, of_pool[name].encode()) for name in ("isComptroller", "getAllMarkets")]
    listed = addresses_in(results[1])
    if results[0].number != 1 or listed is None:
        raise ProtocolError(f"{comptroller} is not the comptroller of a Venus pool; correct its address")

    snapshot = of_market["getAccountSnapshot"]
    results = yield [
        *(Call(market, of_market["underlying"].encode()) for market in listed),
        *(Call(market, snapshot.encode(account)) for account in accounts for market in listed),
    ]
    count = len(listed)
    underlyings = {
        market: word_address(result.data)
        for market, result in zip(listed, results[:count], strict=True)
        if result.number is not None
    }
    found: list[Use] = []
    for place, account in enumerate(accounts, start=1):
        of_account = dict(zip(listed, results[place * count : (place + 1) * count], strict=True))
        supplied, owed = (
            tuple(market for market, result in of_account.items() if market in underlyings and _has(result, word))
            for word in (1, 2)
        )
        found.append(Use(account, supplied, owed))
    return PoolUse(comptroller, underlyings, tuple(found))


def _has(snapshot: CallResult, word: int) -> bool:
    """`getAccountSnapshot`: an error, vTokens, what is owed, what a vToken is worth."""
    return snapshot.success and len(snapshot.data) == 128 and any(snapshot.data[32 * word : 32 * (word + 1)])
