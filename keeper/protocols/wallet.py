"""The owner's wallet: idle tokens as a donor, within the finite allowance that the owner gave the guard.

It owes nothing, so it is never liquidated and never receives. The native coin cannot be pulled by anybody; it is shown,
with what would make it count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from keeper.core.amounts import amount_text, figure
from keeper.core.coins import coin_text
from keeper.core.policy import Pair
from keeper.core.risk import Risk
from keeper.core.snapshot import (
    NOTHING,
    NOW,
    CollateralLine,
    Fresh,
    GuardAccount,
    GuardProtocol,
    Horizon,
    Reading,
    Subaccount,
    SubaccountId,
    Token,
    Unknown,
)
from keeper.core.units import Address
from keeper.protocols.abi import ZERO_ADDRESS, interface
from keeper.protocols.base import Around, Call, CallResult, Discovery, Enrolment, Source, UnknownMargin
from keeper.protocols.erc20 import TOKEN_CALLS, decode_token, token_calls
from keeper.protocols.multicall import MULTICALL3

NAME = "wallet"
NO_KEY = "0x" + 64 * "0"
"""The guard's key of a wallet."""

NATIVE_SHOWN_MIN = 10**15
"""Less than a thousandth of the native coin is not worth a note."""


@dataclass(frozen=True, slots=True)
class WalletMargin:
    """Tokens without debt: nothing to be liquidated, so no price is needed."""

    balances_raw: Mapping[Address, int]

    def risk(
        self,
        deltas: Mapping[Address, int] = NOTHING,
        horizon: Horizon = NOW,  # noqa: ARG002
        falls_bps: Mapping[Address, int] = NOTHING,  # noqa: ARG002
        repaid: Mapping[Address, int] = NOTHING,  # noqa: ARG002
    ) -> Risk:
        """No value on either side. Raises ValueError when a delta takes out more than there is."""
        for token, delta in deltas.items():
            if self.balances_raw.get(token, 0) + delta < 0:
                raise ValueError(f"the wallet has {self.balances_raw.get(token, 0)} raw units of {token}, not {-delta}")
        return Risk(0, 0, 0, 0)


def discover(
    owner: Address, guard: Address | None, tokens: Sequence[Address], native_symbol: str
) -> "Discovery[Wallet]":
    """The tokens, in one round. Raises ProtocolError naming one that cannot be used."""
    results = yield [call for token in tokens for call in token_calls(token)]
    described = tuple(
        decode_token(token, results[TOKEN_CALLS * index : TOKEN_CALLS * (index + 1)])
        for index, token in enumerate(tokens)
    )
    return Wallet(owner, guard, described, native_symbol)


@dataclass(frozen=True, slots=True)
class Wallet:
    """Chosen tokens of the owner."""

    owner: Address
    guard: Address | None
    held: tuple[Token, ...]
    native_symbol: str
    kind: Literal["wallet"] = "wallet"

    @property
    def name(self) -> str:
        return NAME

    def read_calls(self) -> list[Call]:
        """The native balance; then for each token its balance and, if there is a guard, the guard's allowance."""
        erc20 = interface("ERC20")
        balance = erc20["balanceOf"].encode(self.owner)
        calls = [Call(MULTICALL3, interface("Multicall3")["getEthBalance"].encode(self.owner))]
        for token in self.held:
            calls.append(Call(token.address, balance))
            if self.guard is not None:
                calls.append(Call(token.address, erc20["allowance"].encode(self.owner, self.guard)))
        return calls

    def feeds(self) -> list[Address]:
        return []

    def underlyings(self) -> list[Address]:
        return [token.address for token in self.held]

    def tokens(self) -> list[Token]:
        return list(self.held)

    def pairs(self) -> list[Pair]:
        return [Pair(SubaccountId(NAME))]

    def enrolments(self) -> list[Enrolment]:
        assets = tuple(token.address for token in self.held)
        return [Enrolment(SubaccountId(NAME), NAME, GuardProtocol.WALLET, self.owner, ZERO_ADDRESS, NO_KEY, assets)]

    def sources(self, id: SubaccountId) -> list[Source]:
        if id != SubaccountId(NAME):
            return []
        balances = [Source(token.symbol, token.address, f"balanceOf({self.owner})") for token in self.held]
        if self.guard is None:
            return balances
        allowance = f"allowance({self.owner}, {self.guard})"
        return balances + [Source(f"{token.symbol} that may move", token.address, allowance) for token in self.held]

    def decode(self, results: Sequence[CallResult], around: Around) -> list[Subaccount]:
        """The wallet. A token that does not answer is left out by name; the others can still give."""
        enrolment = around.enrolled.get((GuardProtocol.WALLET, self.owner, ZERO_ADDRESS, NO_KEY))
        step = 1 if self.guard is None else 2
        cannot_give = around.lacks_guard(self.guard)
        asked = step if cannot_give is None else 1
        notes = _native_note(results[0], self.native_symbol)
        lines: list[CollateralLine] = []
        unread: list[str] = []
        for token, start in zip(self.held, range(1, len(results), step), strict=True):
            line = _line(token, results[start : start + asked], enrolment, notes)
            if isinstance(line, Unknown):
                unread.append(line.reason)
            else:
                lines.append(line)
        balances = {line.token.address: line.amount_raw for line in lines}
        reading: Reading = Unknown("; ".join(unread)) if unread and not lines else Fresh()
        return [
            Subaccount(
                id=SubaccountId(NAME),
                label=NAME,
                holder=self.owner,
                guard_index=enrolment.index if enrolment else None,
                unit=None,
                collateral=tuple(lines),
                debts=(),
                margin=UnknownMargin() if isinstance(reading, Unknown) else WalletMargin(balances),
                penalty_bps=0,
                reading=reading,
                cannot_give=cannot_give,
                cannot_receive="a wallet owes nothing, so nothing is moved into it",
                notes=(*notes, *unread),
                unread=() if isinstance(reading, Unknown) else tuple(unread),
            )
        ]


def _line(
    token: Token, results: Sequence[CallResult], enrolment: GuardAccount | None, notes: list[str]
) -> CollateralLine | Unknown:
    """One token; adds to `notes` when something of it cannot be given that could be."""
    of_balance = results[0]
    if not of_balance.success or len(of_balance.data) != 32:
        return Unknown(f"the balance of {token.symbol} cannot be read: {of_balance.problem('a balance')}")
    balance = int.from_bytes(of_balance.data)
    allowance = 0
    if len(results) > 1:
        of_allowance = results[1]
        if of_allowance.success and len(of_allowance.data) == 32:
            allowance = int.from_bytes(of_allowance.data)
        else:
            notes.append(
                f"the guard's allowance of {token.symbol} cannot be read: {of_allowance.problem('an allowance')}"
            )
        is_enrolled = enrolment is None or token.address in enrolment.assets
        if not is_enrolled:
            allowance = 0
            notes.append(f"{token.symbol} is not enrolled in the guard, so it cannot be given")
        elif allowance < balance and of_allowance.success:
            notes.append(
                f"the guard may take {figure(allowance, token.decimals)} of {amount_text(balance, token)}: "
                "approve more to make it available"
            )
    return CollateralLine(token, balance, min(balance, allowance), 0, 0, 0, 0, form=token.address)


def _native_note(result: CallResult, symbol: str) -> list[str]:
    if not result.success or len(result.data) != 32:
        return [f"the balance of {symbol} cannot be read"]
    balance = int.from_bytes(result.data)
    if balance < NATIVE_SHOWN_MIN:
        return []
    return [f"{coin_text(balance, symbol)}: wrap to make available"]
