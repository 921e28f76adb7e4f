"""Which of the owner's 256 sub-accounts in one EVC exist, and the vaults that each has to do with.

The EVC lists what a sub-account has enabled as collateral and who controls it. Shares that are neither it does not
know: they are looked for in vaults that somebody names, or that the owner ever called through the EVC, as its logs say.
"""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass

from keeper.core.units import Address
from keeper.errors import ProtocolError
from keeper.protocols.abi import interface, word_address
from keeper.protocols.base import Call, CallResult, Discovery, LogFilter
from keeper.protocols.euler.math import SUB_ACCOUNTS, account
from keeper.protocols.euler.topology import address_in, addresses_in, word

CALLS_PER_ROUND_MAX = 2_048
"""A share balance costs about 10k gas, and nodes cap a call at 50M."""


@dataclass(frozen=True, slots=True)
class SubAccount:
    """One that exists: it enabled something, owes something, or has shares."""

    number: int
    account: Address
    collaterals: tuple[Address, ...]
    controllers: tuple[Address, ...]
    held: tuple[Address, ...]
    """The vaults, of those that were asked, of which it has shares."""

    @property
    def vaults(self) -> tuple[Address, ...]:
        """What it holds, or counts on, each once."""
        return tuple(dict.fromkeys((*self.collaterals, *self.held)))


def sub_accounts(evc: Address, owner: Address, vaults: Sequence[Address]) -> Discovery[tuple[SubAccount, ...]]:
    """One round, and one more for each eight vaults. Raises ProtocolError for an address that is not the EVC."""
    accounts = [account(owner, number) for number in range(SUB_ACCOUNTS)]
    of_evc, balance_of = interface("EVC"), interface("EulerVault")["balanceOf"]
    listing = [Call(evc, of_evc[name].encode(one)) for name in ("getCollaterals", "getControllers") for one in accounts]
    results = yield listing
    lists = [addresses_in(result) for result in results]
    if None in lists:
        raise ProtocolError(f"{evc} is not the Ethereum Vault Connector: it lists no collaterals; correct its address")
    listed = [found or () for found in lists]
    balances = yield from _in_rounds([Call(vault, balance_of.encode(one)) for one in accounts for vault in vaults])
    found: list[SubAccount] = []
    for number, one in enumerate(accounts):
        of_it = balances[number * len(vaults) : (number + 1) * len(vaults)]
        held = tuple(vault for vault, balance in zip(vaults, of_it, strict=True) if word(balance))
        sub = SubAccount(number, one, listed[number], listed[SUB_ACCOUNTS + number], held)
        if sub.vaults or sub.controllers:
            found.append(sub)
    return tuple(found)


def vaults_of(evc: Address, candidates: Sequence[Address]) -> Discovery[tuple[Address, ...]]:
    """Those that say that they belong to this EVC: one round. The owner calls other contracts through it as well."""
    results = yield [Call(one, interface("EulerVault")["EVC"].encode()) for one in candidates]
    return tuple(one for one, result in zip(candidates, results, strict=True) if address_in(result) == evc)


def call_log_filter(evc: Address, owner: Address) -> LogFilter:
    """Logs that name every contract that the owner's sub-accounts called through the EVC: a vault that is called
    directly goes through it too (EVCUtil.callThroughEVC). What somebody else put into a sub-account is not among them.
    """
    topic = interface("EVC").events["CallWithContext"].topic
    return LogFilter(evc, (f"0x{topic.hex()}", None, f"0x{owner[2:40]:0<64}"))


def called_in(log_topics: Iterable[Sequence[bytes]]) -> tuple[Address, ...]:
    """The contracts in the topics of such logs, each once, in order of first appearance."""
    return tuple(dict.fromkeys(word_address(topics[3]) for topics in log_topics))


def _in_rounds(calls: Sequence[Call]) -> Generator[Sequence[Call], Sequence[CallResult], list[CallResult]]:
    results: list[CallResult] = []
    for start in range(0, len(calls), CALLS_PER_ROUND_MAX):
        results += yield calls[start : start + CALLS_PER_ROUND_MAX]
    return results
