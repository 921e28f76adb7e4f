"""Venus's isolated pools: one subaccount for each account of one pool, with all its markets.

The cycle accrues interest, brings prices up to date and reads what can change in a block. From that it computes the
margin itself, and believes it only when the pool's own `getAccountLiquidity`, read in the same call, says the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from keeper.core.policy import Pair
from keeper.core.snapshot import (
    CollateralLine,
    Debt,
    Fresh,
    FreshnessUnverified,
    GuardProtocol,
    Margin,
    Reading,
    Subaccount,
    SubaccountId,
    Token,
    Unknown,
)
from keeper.core.units import BPS, WAD, Address, mul_div_up
from keeper.protocols.abi import ZERO_ADDRESS, short
from keeper.protocols.base import Around, Call, CallResult, Discovery, Enrolment, Source, UnknownMargin
from keeper.protocols.oracles import worst
from keeper.protocols.venus.account import AccountState, Entry, lines_of
from keeper.protocols.venus.reading import MarketState, PoolState, decode, outdated, problem, read_calls
from keeper.protocols.venus.topology import Account, Pool, addresses_in, discover_pool

NAME = "venus"
NO_KEY = "0x" + 64 * "0"
"""The guard's key of an account on Venus: the holder and the comptroller say it all."""
USD = Token(ZERO_ADDRESS, "USD", 18)


def discover(
    comptroller: Address, accounts: Sequence[Address], guard: Address | None, markets: Sequence[Address]
) -> "Discovery[VenusPool]":
    """These accounts in one pool. Raises ProtocolError naming what cannot be used."""
    found = yield from discover_pool(comptroller, accounts, markets)
    return VenusPool(found, guard, tuple(markets))


@dataclass(frozen=True, slots=True)
class VenusPool:
    """Accounts in one isolated pool, and the markets whose vTokens may move between them."""

    pool: Pool
    guard: Address | None
    markets: tuple[Address, ...]
    kind: Literal["venus_pool"] = "venus_pool"

    @property
    def name(self) -> str:
        return NAME

    def read_calls(self) -> list[Call]:
        return read_calls(self.pool, self.guard)

    # What the others need ---------------------------------------------------------------------------------------------

    def feeds(self) -> list[Address]:
        return list(dict.fromkeys(feed for market in self.pool.markets for feed in market.feeds or ()))

    def tokens(self) -> list[Token]:
        return [*(market.token for market in self.pool.markets), USD]

    def shares(self) -> list[Token]:
        """The vTokens: what an allowance to the guard is given of."""
        return [market.share for market in self.pool.markets]

    def movable_shares(self) -> list[Token]:
        return [market.share for market in self.pool.markets if market.address in self.markets]

    def underlyings(self) -> list[Address]:
        return [market.token.address for market in self.pool.markets if market.address in self.markets]

    def pairs(self) -> list[Pair]:
        return [
            Pair(self._id(account.address), account.threshold, account.collateral_symbols, account.debt_symbols)
            for account in self.pool.accounts
        ]

    def enrolments(self) -> list[Enrolment]:
        return [
            Enrolment(
                self._id(account.address),
                account.label,
                GuardProtocol.VENUS,
                account.address,
                self.pool.comptroller,
                NO_KEY,
                self.markets,
            )
            for account in self.pool.accounts
        ]

    def account(self, id: SubaccountId) -> Account | None:
        """None when it is of another pool."""
        return next((one for one in self.pool.accounts if self._id(one.address) == id), None)

    def sources(self, id: SubaccountId) -> list[Source]:
        found_as = self.account(id)
        if found_as is None:
            return []
        account = found_as.address
        comptroller = self.pool.comptroller
        found = [
            Source("the markets that it entered", comptroller, f"getAssetsIn({account})"),
            Source("what is left or missing, to compare with", comptroller, f"getAccountLiquidity({account})"),
        ]
        for market in self.pool.markets:
            symbol = market.token.symbol
            found += [
                Source(f"{symbol} held and owed", market.address, f"getAccountSnapshot({account})"),
                Source(f"what of {symbol} counts", comptroller, f"markets({market.address})"),
                Source(f"price of {symbol}", self.pool.oracle, f"getUnderlyingPrice({market.address})"),
            ]
        return found

    def _id(self, account: Address) -> SubaccountId:
        """With the pool, because a holder has an account in each."""
        return SubaccountId(NAME, f"{self.pool.comptroller}/{account}")

    # What the answers say ---------------------------------------------------------------------------------------------

    def decode(self, results: Sequence[CallResult], around: Around) -> list[Subaccount]:
        """See `Adapter.decode`."""
        state = decode(self.pool, results)
        return [
            self._subaccount(account, answers, state, around)
            for account, answers in zip(self.pool.accounts, state.accounts, strict=True)
        ]

    def _subaccount(
        self, account: Account, answers: Sequence[CallResult], pool: PoolState, around: Around
    ) -> Subaccount:
        if pool.oracle != self.pool.oracle:
            asks = "does not name its oracle" if pool.oracle is None else "asks another oracle"
            changed = outdated(f"the Venus pool {short(self.pool.comptroller)} {asks}")
            return self._described(account, None, changed, pool, around)
        state = self._account_state(account, answers, pool)
        if isinstance(state, Unknown):
            return self._described(account, None, state, pool, around)
        reason = _disagreement(state, answers[1]) or _unsaid(state)
        reading = Unknown(reason) if reason else self._reading(state, around)
        return self._described(account, state, reading, pool, around, is_margin_known=reason is None)

    def _account_state(
        self, account: Account, answers: Sequence[CallResult], pool: PoolState
    ) -> AccountState | Unknown:
        """All that was read of one account, or why it cannot be judged."""
        entered = addresses_in(answers[0])
        if entered is None:
            return Unknown(f"Venus does not say what {account.label} entered: {problem(answers[0], 'a list')}")
        if set(entered) - pool.markets.keys():
            return outdated(f"{account.label} entered a market that it had not entered when the keeper started")
        entries: list[Entry] = []
        allowances: dict[Address, int | None] = {}
        unread: list[str] = []
        step = 1 if self.guard is None else 2
        for place, (market, state) in enumerate(pool.markets.items()):
            of_balance = answers[2 + step * place]
            entry = _entry(account, state, of_balance, is_entered=market in entered)
            if isinstance(entry, Unknown):
                if market in entered:
                    return entry
                unread.append(entry.reason)
                continue
            entries.append(entry)
            allowances[market] = 0 if self.guard is None else answers[3 + step * place].number
        return AccountState(tuple(entries), allowances, tuple(unread))

    def _reading(self, state: AccountState, around: Around) -> Reading:
        """How well the prices of an account are known; one that owes nothing needs none."""
        if not state.has_debt:
            return Fresh()
        readings: list[Reading] = []
        for entry in state.touched:
            if entry.state.market.feeds is None:
                readings.append(
                    FreshnessUnverified(
                        f"the oracle {short(self.pool.oracle)} does not name one price feed of "
                        f"{entry.token.symbol}, so its age cannot be judged"
                    )
                )
            readings += [around.feeds[feed] for feed in entry.state.market.feeds or ()]
        return worst(readings)

    def _described(
        self,
        account: Account,
        state: AccountState | None,
        reading: Reading,
        pool: PoolState,
        around: Around,
        *,
        is_margin_known: bool = False,
    ) -> Subaccount:
        key = (GuardProtocol.VENUS, account.address, self.pool.comptroller, NO_KEY)
        enrolment = around.enrolled.get(key)
        cannot_give = around.lacks_guard(self.guard)
        if isinstance(reading, Unknown):
            cannot_give = cannot_give or reading.reason
        collateral: tuple[CollateralLine, ...] = ()
        notes: tuple[str, ...] = ()
        # What could not be read is taken for indebted, because nobody knows that it is not.
        debts: tuple[Debt, ...] = (Debt(USD, 0, WAD),)
        margin: Margin = UnknownMargin()
        forced = None
        feeds: tuple[Address, ...] = ()
        if state is not None:
            collateral, notes = lines_of(state, self.markets, enrolment, can_give=cannot_give is None)
            if is_margin_known:
                margin = state.margin
                debts = tuple(_debt(entry) for entry in state.entries if entry.holding.owed_raw)
                notes += _pool_notes(state, pool)
                forced = _forced(state)
            if debts:
                feeds = tuple(dict.fromkeys(feed for one in state.touched for feed in one.state.market.feeds or ()))
        return Subaccount(
            self._id(account.address),
            account.label,
            account.address,
            enrolment.index if enrolment else None,
            USD,
            collateral,
            debts,
            margin,
            mul_div_up(max(pool.incentive - WAD, 0), BPS, WAD) if is_margin_known and debts else 0,
            reading,
            feeds,
            cannot_give,
            forced_liquidation=forced,
            notes=notes,
            unread=() if state is None else state.unread,
        )


def _entry(
    account: Account, state: MarketState | Unknown, of_balance: CallResult, *, is_entered: bool
) -> Entry | Unknown:
    if isinstance(state, Unknown):
        return state
    if not of_balance.success or len(of_balance.data) != 128:
        return Unknown(
            f"the {state.market.token.symbol} of {account.label} cannot be read: {problem(of_balance, 'a balance')}"
        )
    error, tokens, owed, _ = (int.from_bytes(of_balance.data[at : at + 32]) for at in (0, 32, 64, 96))
    if error:
        return Unknown(f"Venus answers error {error} for the {state.market.token.symbol} of {account.label}")
    return Entry(state, state.holding(tokens, owed, is_entered=is_entered))


def _disagreement(state: AccountState, of_liquidity: CallResult) -> str | None:
    """Why an account that was read cannot be believed."""
    if not of_liquidity.success or len(of_liquidity.data) != 96:
        return f"the pool's own liquidity does not answer: {problem(of_liquidity, 'a liquidity')}"
    theirs = tuple(int.from_bytes(of_liquidity.data[at : at + 32]) for at in (32, 64))
    ours = state.margin.liquidity()
    if theirs == ours:
        return None
    return (
        f"the pool says that {theirs[0]} is left and {theirs[1]} missing, and the keeper computes {ours[0]} and "
        f"{ours[1]} (WAD of USD); the keeper does not know this pool well enough"
    )


def _debt(entry: Entry) -> Debt:
    holding, token = entry.holding, entry.token
    price = mul_div_up(holding.price, 10**token.decimals, WAD)
    return Debt(token, holding.owed_raw, price, entry.state.market.address, entry.state.is_liquidation_forced is True)


def _pool_notes(state: AccountState, pool: PoolState) -> tuple[str, ...]:
    if state.has_debt and state.margin.total_value <= pool.min_liquidatable:
        least = pool.min_liquidatable // WAD
        return (f"with no more than {least:,} USD of collateral it would be liquidated as a whole",)
    return ()


def _unsaid(state: AccountState) -> str | None:
    """Why nobody knows whether its health protects it at all: of what is owed, the pool does not say it."""
    said = [one.state.is_liquidation_forced for one in state.entries if one.holding.owed_raw]
    return next((one.reason for one in said if isinstance(one, Unknown)), None)


def _forced(state: AccountState) -> str | None:
    """What no collateral helps against. Comptroller.preLiquidateHook"""
    forced = [
        one.token.symbol for one in state.entries if one.holding.owed_raw and one.state.is_liquidation_forced is True
    ]
    if not forced:
        return None
    return f"Venus lets anybody liquidate what is owed of {', '.join(forced)}, whatever the health; repay it by hand"
