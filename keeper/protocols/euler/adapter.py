"""Euler v2: each sub-account of the owner that exists is one subaccount.

Amounts are in units of the underlying, as everywhere; inside, the shares are counted. What a vault itself says of an
account (`accountLiquidity`) must be what our arithmetic gives, so that what it gives for a change can be believed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from keeper.core.policy import Pair
from keeper.core.snapshot import GuardProtocol, Subaccount, SubaccountId, Token
from keeper.core.units import Address
from keeper.protocols.base import Around, Call, CallResult, Discovery, Enrolment, Source
from keeper.protocols.euler.account import Reader
from keeper.protocols.euler.find import find
from keeper.protocols.euler.math import EulerMargin
from keeper.protocols.euler.reading import State, decode, read_calls
from keeper.protocols.euler.topology import NAME, Position, Topology


def discover(evc: Address, owner: Address, guard: Address | None, vaults: Sequence[Address]) -> "Discovery[EulerV2]":
    """The owner's sub-accounts in this EVC. See `find.find` for what is asked and raised."""
    topology = yield from find(evc, owner, vaults)
    return EulerV2(evc, owner, guard, topology)


@dataclass(frozen=True, slots=True)
class EulerV2:
    """The owner's sub-accounts in one EVC.

    The guard moves shares within finite allowances of them. It is never made an operator: one may borrow and install
    controllers too, and an allowance of shares is needed besides.
    """

    evc: Address
    owner: Address
    guard: Address | None
    topology: Topology
    kind: Literal["euler_v2"] = "euler_v2"

    @property
    def name(self) -> str:
        return NAME

    def read_calls(self) -> list[Call]:
        return read_calls(self.topology, self.evc, self.owner, self.guard)

    def feeds(self) -> list[Address]:
        return list(dict.fromkeys(feed for route in self.topology.routes for feed in route.feeds or ()))

    def tokens(self) -> list[Token]:
        """Underlyings, units of account, and shares of the vaults that share an underlying: one of them moves."""
        found: dict[Token, None] = {}
        assets = [vault.asset for vault in self.topology.vaults]
        for vault in self.topology.vaults:
            found[vault.asset] = None
            if assets.count(vault.asset) > 1:
                found[vault.share] = None
        found.update({lender.unit: None for lender in self.topology.lenders.values() if lender.unit})
        return list(found)

    def underlyings(self) -> list[Address]:
        return list(dict.fromkeys(vault.asset.address for vault in self.topology.vaults))

    def pairs(self) -> list[Pair]:
        return [
            Pair(position.id, position.lltv, position.collateral_symbol, position.debt_symbol)
            for position in self.topology.positions
        ]

    def enrolments(self) -> list[Enrolment]:
        vaults = tuple(vault.address for vault in self.topology.vaults)
        return [
            Enrolment(position.id, position.label, GuardProtocol.EULER, self.owner, self.evc, position.key, vaults)
            for position in self.topology.positions
        ]

    def sources(self, id: SubaccountId) -> list[Source]:
        return [source for position in self.topology.positions if position.id == id for source in self._of(position)]

    def _of(self, position: Position) -> list[Source]:
        one = position.account
        found = [Source("enabled collateral, in the order of checks", self.evc, f"getCollaterals({one})")]
        found += [
            source
            for vault in self.topology.vaults
            for source in (
                Source(f"shares of {vault.share.symbol}", vault.address, f"balanceOf({one})"),
                Source(f"assets per share of {vault.share.symbol}", vault.address, "totalAssets(), totalSupply()"),
            )
        ]
        for lender in self.topology.lenders.values():
            if lender.address != position.controller:
                continue
            found += [
                Source(f"debt to {lender.share.symbol}", lender.address, f"debtOf({one})"),
                Source("values at the liquidation LTV", lender.address, f"accountLiquidity({one}, true)"),
                Source("values at the borrow LTV", lender.address, f"accountLiquidity({one}, false)"),
            ]
            found += [
                Source(f"LTVs of {vault.share.symbol}", lender.address, f"LTVFull({vault.address})")
                for vault in self.topology.vaults
                if vault != lender
            ]
            found += [
                Source("price", leg.oracle, f"getQuotes(10^30, {leg.base}, {leg.quote})")
                for route in self.topology.routes
                if route.lender == lender.address
                for leg in route.legs
            ]
        return found

    def state(self, results: Sequence[CallResult]) -> State:
        """What the answers to `read_calls` say, before it is judged."""
        return decode(self.topology, results, self.guard)

    def decode(self, results: Sequence[CallResult], around: Around) -> list[Subaccount]:
        """See `Adapter.decode`."""
        state = self.state(results)
        reader = self._reader(state, around)
        return [reader.subaccount(account) for account in state.accounts]

    def margins(self, results: Sequence[CallResult], around: Around) -> dict[SubaccountId, EulerMargin]:
        """Each account's margin by our arithmetic alone, also where its vault does not value it.

        A status check may pass although `accountLiquidity` fails, and only shares say how far.
        """
        state = self.state(results)
        reader = self._reader(state, around)
        return {account.position.id: reader.margin(account) for account in state.accounts}

    def _reader(self, state: State, around: Around) -> Reader:
        return Reader(self.topology, self.evc, self.owner, self.guard, state, around)
