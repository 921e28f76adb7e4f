"""Aave v3, of the two versions in versions.py: one subaccount for each account, with all its assets.

The cycle reads what can change in a block: flags, e-modes, indexes, prices, balances. From that it computes health
itself, and believes it only when the pool's own `getUserAccountData`, read in the same call, says the same to the wei.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from keeper.core.policy import Pair
from keeper.core.snapshot import (
    WHOLE,
    CollateralLine,
    Debt,
    Fresh,
    FreshnessUnverified,
    GuardAccount,
    GuardProtocol,
    Margin,
    Reading,
    Subaccount,
    SubaccountId,
    Token,
    Unknown,
)
from keeper.core.units import WAD, Address
from keeper.protocols.aave.account import AccountState, entries_of, lines_of, manager_note
from keeper.protocols.aave.math import AaveMargin
from keeper.protocols.aave.state import (
    CALLS_PER_RESERVE,
    FOUND_OUT_ANEW,
    ReserveState,
    decode_reserve,
    number,
    outdated,
    reserve_calls,
)
from keeper.protocols.aave.topology import Account, Pool, Reserve, category_calls, decode_category, discover_pool
from keeper.protocols.aave.versions import VERSIONS, Version
from keeper.protocols.aave.words import AccountFlags, Category, Terms, terms
from keeper.protocols.abi import ZERO_ADDRESS, interface, short
from keeper.protocols.base import Around, Call, CallResult, Discovery, Enrolment, Source, UnknownMargin
from keeper.protocols.oracles import worst

NAME = "aave"
NO_KEY = "0x" + 64 * "0"
"""The guard's key of an Aave account: the holder and the pool say it all."""


def discover(
    pool: Address, accounts: Sequence[Address], guard: Address | None, assets: Sequence[Address]
) -> "Discovery[AaveV3]":
    """These accounts in one pool. Raises ProtocolError naming what cannot be used."""
    found = yield from discover_pool(pool, accounts, assets)
    return AaveV3(found, guard, tuple(assets))


@dataclass(frozen=True, slots=True)
class AaveV3:
    """Accounts in one Aave pool, and the assets that may move between them."""

    pool: Pool
    guard: Address | None
    assets: tuple[Address, ...]
    kind: Literal["aave_v3"] = "aave_v3"

    @property
    def name(self) -> str:
        return NAME

    @property
    def version(self) -> Version:
        return VERSIONS[self.pool.revision]

    @property
    def unit(self) -> Token:
        """What values are stated in: the pool's oracle answers in USD."""
        return Token(ZERO_ADDRESS, "USD", self.pool.price_decimals)

    # What is read -----------------------------------------------------------------------------------------------------

    def read_calls(self) -> list[Call]:
        """The pool's revision; then each reserve, each e-mode category, each account with its balances."""
        pool, of_pool = self.pool, interface("AavePool")
        calls = [Call(pool.address, of_pool["POOL_REVISION"].encode())]
        for reserve in pool.reserves:
            calls += reserve_calls(pool, reserve)
        for id in pool.categories:
            calls += category_calls(pool.address, pool.revision, id)
        for account in pool.accounts:
            calls += self._account_calls(account.address)
        return calls

    def _account_calls(self, account: Address) -> list[Call]:
        pool, of_pool, of_token = self.pool, interface("AavePool"), interface("AaveToken")
        names = ("getUserConfiguration", "getUserEMode", "getUserAccountData")
        calls = [Call(pool.address, of_pool[name].encode(account)) for name in names]
        if self._asks_for_manager:
            calls.append(Call(pool.address, of_pool["isApprovedPositionManager"].encode(account, self.guard)))
        scaled, balance = of_token["scaledBalanceOf"].encode(account), interface("ERC20")["balanceOf"].encode(account)
        for reserve in pool.reserves:
            calls += [Call(reserve.a_token, scaled), Call(reserve.debt_token, scaled)]
            if self.guard is not None:
                calls.append(Call(reserve.a_token, interface("ERC20")["allowance"].encode(account, self.guard)))
            if self._asks_for_stable_debt:
                calls.append(Call(reserve.stable_debt_token, balance))
        return calls

    @property
    def _asks_for_manager(self) -> bool:
        return self.guard is not None and self.version.has_position_managers

    @property
    def _asks_for_stable_debt(self) -> bool:
        return self.version.has_stable_debt

    # What the others need ---------------------------------------------------------------------------------------------

    def feeds(self) -> list[Address]:
        return list(dict.fromkeys(feed for reserve in self.pool.reserves for feed in reserve.feeds or ()))

    def tokens(self) -> list[Token]:
        return [*(reserve.token for reserve in self.pool.reserves), self.unit]

    def a_tokens(self) -> dict[Address, Token]:
        """By underlying: what an allowance to the guard is given of."""
        return {
            reserve.token.address: Token(reserve.a_token, reserve.a_symbol, reserve.token.decimals)
            for reserve in self.pool.reserves
        }

    def wants_manager(self, subaccount: Subaccount) -> bool:
        """Whether something that may move would count there if the guard were its position manager."""
        movable = (reserve.token for reserve in self.pool.reserves if reserve.token.address in self.assets)
        said = (manager_note(token.symbol, has_guard=has_guard) for token in movable for has_guard in (True, False))
        return any(note in subaccount.notes for note in said)

    def underlyings(self) -> list[Address]:
        return list(self.assets)

    def pairs(self) -> list[Pair]:
        return [
            Pair(_id(account.address), account.threshold, account.collateral_symbols, account.debt_symbols)
            for account in self.pool.accounts
        ]

    def enrolments(self) -> list[Enrolment]:
        return [
            Enrolment(
                _id(account.address),
                account.label,
                GuardProtocol.AAVE,
                account.address,
                self.pool.address,
                NO_KEY,
                self.assets,
            )
            for account in self.pool.accounts
        ]

    def sources(self, id: SubaccountId) -> list[Source]:
        pool = self.pool
        if not any(_id(account.address) == id for account in pool.accounts):
            return []
        found = [
            Source("what is in use, and what is owed", pool.address, f"getUserConfiguration({id.key})"),
            Source("e-mode", pool.address, f"getUserEMode({id.key})"),
            Source("health, to compare with", pool.address, f"getUserAccountData({id.key})"),
        ]
        for reserve in pool.reserves:
            asset, symbol = reserve.token.address, reserve.token.symbol
            found += [
                Source(f"{symbol} supplied", reserve.a_token, f"scaledBalanceOf({id.key})"),
                Source(f"{symbol} owed", reserve.debt_token, f"scaledBalanceOf({id.key})"),
                Source(f"interest on {symbol}", pool.address, f"getReserveNormalizedIncome, …VariableDebt({asset})"),
                Source(f"what of {symbol} counts", pool.address, f"getReserveData({asset}).configuration"),
                Source(f"price of {symbol}", pool.oracle, f"getAssetPrice({asset})"),
            ]
        return found

    # What the answers say ---------------------------------------------------------------------------------------------

    def decode(self, results: Sequence[CallResult], around: Around) -> list[Subaccount]:
        """See `Adapter.decode`."""
        pool = self.pool
        revision = number(results[0])
        changed = None
        if revision is None:
            changed = Unknown(
                f"the Aave pool {short(pool.address)} does not answer: {results[0].problem('its revision')}"
            )
        elif revision != pool.revision:
            changed = outdated(f"the Aave pool was upgraded to revision {revision} since the keeper started")
        start = 1
        states: list[ReserveState | Unknown] = []
        for reserve in pool.reserves:
            states.append(decode_reserve(pool, reserve, results[start : start + CALLS_PER_RESERVE]))
            start += CALLS_PER_RESERVE
        categories: dict[int, Category | None] = {}
        step = len(category_calls(pool.address, pool.revision, 0))
        for id in pool.categories:
            categories[id] = decode_category(id, results[start : start + step])
            start += step
        step = (len(results) - start) // max(len(pool.accounts), 1)
        return [
            self._subaccount(account, results[at : at + step], states, categories, around, changed)
            for account, at in zip(pool.accounts, range(start, len(results), max(step, 1)), strict=True)
        ]

    def _subaccount(
        self,
        account: Account,
        results: Sequence[CallResult],
        states: Sequence[ReserveState | Unknown],
        categories: Mapping[int, Category | None],
        around: Around,
        changed: Unknown | None,
    ) -> Subaccount:
        enrolment = around.enrolled.get((GuardProtocol.AAVE, account.address, self.pool.address, NO_KEY))
        first = 4 if self._asks_for_manager else 3
        state = self._account_state(account, results[:first], results[first:], states, categories)
        if isinstance(state, Unknown):
            return self._described(account, None, changed or state, enrolment, around)
        problem = None if changed else self._problem(state, results[2])
        reading = changed or (Unknown(problem) if problem else self._reading(state, around))
        return self._described(
            account, state, reading, enrolment, around, is_margin_known=changed is None and problem is None
        )

    def _account_state(
        self,
        account: Account,
        of_account: Sequence[CallResult],
        of_balances: Sequence[CallResult],
        states: Sequence[ReserveState | Unknown],
        categories: Mapping[int, Category | None],
    ) -> AccountState | Unknown:
        """All that was read of one account, or why it cannot be judged."""
        flags_word, mode = number(of_account[0]), number(of_account[1])
        if flags_word is None or mode is None:
            failed = of_account[0] if flags_word is None else of_account[1]
            return Unknown(f"Aave does not answer for {account.label}: {failed.problem('its configuration')}")
        flags = AccountFlags(flags_word)
        if set(flags.ids()) - {reserve.id for reserve in self.pool.reserves}:
            return outdated(f"{account.label} uses an asset that it did not use when the keeper started")
        if mode and mode not in categories:
            return outdated(f"{account.label} entered e-mode {mode} after the keeper started")
        category = categories[mode] if mode else None
        if mode and category is None:
            return Unknown(f"the e-mode category {mode} of {account.label} cannot be read or has a price of its own")
        is_manager = len(of_account) == 4 and number(of_account[3]) == 1
        step = len(of_balances) // max(len(self.pool.reserves), 1)
        read: list[tuple[ReserveState, Terms, int, int]] = []
        allowances: dict[Address, int | None] = {}
        unread: list[str] = []
        for place, (reserve, of_reserve) in enumerate(zip(self.pool.reserves, states, strict=True)):
            of_balances_here = of_balances[step * place : step * (place + 1)]
            balances = self._balances(account, reserve, of_reserve, of_balances_here)
            if isinstance(balances, Unknown):
                if flags.uses(reserve.id) or flags.owes(reserve.id):
                    return balances
                unread.append(balances.reason)
                continue
            known, supplied, owed = balances
            own = terms(known.flags, reserve.id, category, self.version.has_category_bitmaps)
            read.append((known, own, supplied, owed))
            allowances[reserve.token.address] = 0 if self.guard is None else number(of_balances_here[2])
        entries = entries_of(self.version, flags, read, guard_may_switch_on=is_manager)
        return AccountState(self.version, entries, allowances, tuple(unread))

    def _balances(
        self, account: Account, reserve: Reserve, state: ReserveState | Unknown, results: Sequence[CallResult]
    ) -> tuple[ReserveState, int, int] | Unknown:
        """What the account supplied and owes of a reserve, in scaled units."""
        if isinstance(state, Unknown):
            return state
        supplied, owed = number(results[0]), number(results[1])
        if supplied is None or owed is None:
            failed = results[0 if supplied is None else 1]
            return Unknown(
                f"the {reserve.token.symbol} of {account.label} cannot be read: {failed.problem('a balance')}"
            )
        if self._asks_for_stable_debt and number(results[-1]) != 0:
            return Unknown(
                f"{account.label} owes {reserve.token.symbol} at a stable rate, or that cannot be told; the keeper "
                "handles variable debt only: change it with swapBorrowRateMode"
            )
        return state, supplied, owed

    def _problem(self, state: AccountState, of_data: CallResult) -> str | None:
        """Why an account that was read cannot be believed."""
        has_debt = state.has_debt
        if has_debt:
            # Without debt the pool's health is infinite whatever the prices are.
            for entry in state.touched:
                if entry.state.price_problem:
                    return entry.state.price_problem
        if not of_data.success or len(of_data.data) != 192:
            return f"the pool's own health does not answer: {of_data.problem('account data')}" if has_debt else None
        theirs, ours = int.from_bytes(of_data.data[160:]), self._margin(state).pool_health()
        if theirs != ours:
            return (
                f"the pool says that its health is {theirs} and the keeper computes {ours} (WAD); the keeper does not "
                "know this pool well enough"
            )
        return None

    def _margin(self, state: AccountState) -> AaveMargin:
        return AaveMargin(self.pool.revision, 10 ** (18 - self.pool.price_decimals), state.holdings)

    def _reading(self, state: AccountState, around: Around) -> Reading:
        """How well the prices of an account are known; one that owes nothing needs none."""
        if not state.has_debt:
            return Fresh()
        readings: list[Reading] = []
        for entry in state.touched:
            reserve = entry.state.reserve
            symbol, source = reserve.token.symbol, short(reserve.source)
            if not entry.state.is_source_known:
                readings.append(
                    FreshnessUnverified(
                        f"the oracle asks another price source for {symbol} than {source}, which it asked when the "
                        f"keeper started; {FOUND_OUT_ANEW}",
                        is_outdated=True,
                    )
                )
            elif reserve.feeds is None:
                readings.append(
                    FreshnessUnverified(
                        f"the price source {source} of {symbol} does not name its price feeds, so their age cannot be "
                        "judged"
                    )
                )
            else:
                readings += [around.feeds[feed] for feed in reserve.feeds]
        return worst(readings)

    def _described(
        self,
        account: Account,
        state: AccountState | None,
        reading: Reading,
        enrolment: GuardAccount | None,
        around: Around,
        *,
        is_margin_known: bool = False,
    ) -> Subaccount:
        cannot_give = around.lacks_guard(self.guard)
        has_guard = cannot_give is None
        if isinstance(reading, Unknown):
            cannot_give = cannot_give or reading.reason
        collateral: tuple[CollateralLine, ...] = ()
        notes: tuple[str, ...] = ()
        # What could not be read is taken for indebted, because nobody knows that it is not.
        debts: tuple[Debt, ...] = (Debt(self.unit, 0, WAD),)
        margin: Margin = UnknownMargin()
        penalty_bps, strike = 0, WHOLE
        feeds: tuple[Address, ...] = ()
        if state is not None:
            known = self._margin(state)
            collateral, notes = lines_of(
                state, known, self.assets, enrolment, has_guard=has_guard, can_give=cannot_give is None
            )
            penalty_bps = state.penalty_bps
            if is_margin_known:
                strike = state.strike(known)
                margin = known
                debts = tuple(
                    Debt(entry.token, known.owed_raw(entry.holding), entry.holding.price * known.value_scale)
                    for entry in state.entries
                    if entry.holding.owed_scaled
                )
            if debts:
                feeds = tuple(dict.fromkeys(feed for one in state.touched for feed in one.state.reserve.feeds or ()))
        return Subaccount(
            _id(account.address),
            account.label,
            account.address,
            enrolment.index if enrolment else None,
            self.unit,
            collateral,
            debts,
            margin,
            penalty_bps,
            reading,
            feeds,
            cannot_give,
            notes=notes,
            unread=() if state is None else state.unread,
            strike=strike,
        )


def _id(account: Address) -> SubaccountId:
    return SubaccountId(NAME, account)
