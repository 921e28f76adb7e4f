"""One Euler sub-account out of what was read: how well it is known, what it holds and owes, what may move.

Only a refusal by `E_NoLiability` says that nothing is owed. Whatever else is not an answer makes the account unknown,
unless it is certain that it owes nothing: then what can be read of it can still be given.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from keeper.core.snapshot import (
    Debt,
    Fresh,
    FreshnessUnverified,
    GuardAccount,
    GuardProtocol,
    Margin,
    Reading,
    Subaccount,
    Unknown,
)
from keeper.core.units import Address, mul_div_up
from keeper.protocols.abi import ZERO_ADDRESS, short
from keeper.protocols.base import UnknownMargin
from keeper.protocols.euler.lines import Cycle
from keeper.protocols.euler.math import STRIKE, EulerMargin, Exchange, Holding, Ltv, Owed, Price, Sides, agrees, quote
from keeper.protocols.euler.reading import AccountState
from keeper.protocols.euler.topology import Route, Vault
from keeper.protocols.oracles import worst

FOUND_LATER = "which it did not have when the keeper started; the daemon finds out anew within a minute or two"


@dataclass(frozen=True, slots=True)
class _Standing:
    """Whom an account has to answer to, and for how much."""

    controller: Vault | None
    debt_raw: int
    """0 also with a controller: then that restricts nothing."""
    sides: Sides | None


@dataclass(frozen=True, slots=True)
class Reader(Cycle):
    """Reads the accounts of one cycle."""

    def subaccount(self, account: AccountState) -> Subaccount:
        """Never raises, whatever the contracts answered."""
        standing = self._standing(account)
        margin = self.margin(account)
        notes = self.notes(account, margin)
        unread = tuple(of.reason for of in account.shares.values() if isinstance(of, Unknown))
        if isinstance(standing, Unknown):
            return self._described(account, margin, UnknownMargin(), standing, (self._feared(account),), notes)
        if standing.debt_raw == 0:
            if unread and not margin.holdings:
                why = Unknown("; ".join(unread))
                return self._described(account, margin, UnknownMargin(), why, (self._feared(account),), notes)
            if standing.controller:
                notes.append(f"{standing.controller.share.symbol} still is its controller, though nothing is owed")
            return self._described(account, margin, margin, Fresh(), (), notes, unread)
        judged = self._judged(account, standing, margin)
        if isinstance(judged, Unknown):
            return self._described(account, margin, UnknownMargin(), judged, (self._feared(account),), notes)
        if judged.reported is not None:
            notes.append("an oracle rounds in its own way: what a change would do is a bound, not exact")
        risk = judged.risk()
        if not risk.lets_collateral_leave:
            notes.append("it is not above 1 at the borrow LTV, so none of its shares may leave")
        assert standing.controller is not None  # it owes
        until = (account.checked_at or 0) + standing.controller.cool_off_seconds
        if risk.is_liquidatable and until > self.around.block.timestamp:
            notes.append(f"it cannot be liquidated until {until}, the end of its cool-off")
        reading = self._reading(judged, standing.controller)
        debts = (self._debt(standing.controller, judged),)
        return self._described(account, judged, judged, reading, debts, notes, unread)

    # What is owed -----------------------------------------------------------------------------------------------------

    def _standing(self, account: AccountState) -> _Standing | Unknown:
        controllers, collaterals, name = account.controllers, account.collaterals, account.position.label
        if isinstance(controllers, Unknown):
            return controllers
        if isinstance(collaterals, Unknown):
            return collaterals
        if len(controllers) > 1:
            return Unknown(f"{name} has {len(controllers)} controllers at once")
        if not controllers:
            for lender in self.topology.lenders.values():
                one = account.liquidity(lender)
                if not one.has_no_liability:
                    reason = one.sides.reason if isinstance(one.sides, Unknown) else "a vault values it all the same"
                    return Unknown(f"{name} has no controller, but that it owes nothing is not said: {reason}")
            return _Standing(None, 0, None)
        controller = self.topology.lenders.get(controllers[0])
        if controller is None:
            return Unknown(f"{name} has the controller {short(controllers[0])}, {FOUND_LATER}", is_outdated=True)
        liquidity = account.liquidity(controller)
        if isinstance(liquidity.sides, Unknown):
            return liquidity.sides
        if isinstance(liquidity.debt_raw, Unknown):
            return liquidity.debt_raw
        if liquidity.debt_raw == 0 and (liquidity.sides.debt or liquidity.sides.initial_debt):
            return Unknown(f"{controller.share.symbol} values a debt of {name} and says that there is none")
        later = next((vault for vault in collaterals if vault not in self.topology.by_address), None)
        if later is not None and liquidity.debt_raw:
            return Unknown(f"{name} has {short(later)} as collateral, {FOUND_LATER}", is_outdated=True)
        return _Standing(controller, liquidity.debt_raw, liquidity.sides)

    def _judged(self, account: AccountState, standing: _Standing, margin: EulerMargin) -> EulerMargin | Unknown:
        """The margin of an account with debt, held against what its vault said."""
        controller, reported = standing.controller, standing.sides
        assert controller is not None  # it owes
        assert reported is not None
        rate = self.state.vaults[controller.address].rate
        price = self.state.prices[controller.address, controller.address]
        for needed in (rate, price, *self._needed(account, controller)):
            if isinstance(needed, Unknown):
                return needed
        own = margin.own()
        if own == reported:
            return margin
        if not agrees(own, reported):
            return Unknown(
                f"{controller.share.symbol} values {account.position.label} in a way that is not understood: "
                f"collateral {reported.collateral}, debt {reported.debt} instead of {own.collateral}, {own.debt}"
            )
        return replace(margin, reported=reported)

    def _needed(self, account: AccountState, controller: Vault) -> list[object]:
        """All that the value of its collateral rests on."""
        needed: list[object] = []
        for vault in _known(account.collaterals):
            shares = account.shares.get(vault, 0)
            if vault == controller.address or shares == 0:
                continue
            ltv = self.state.ltvs[controller.address, vault]
            needed += [shares, ltv]
            if isinstance(ltv, Ltv) and (ltv.borrow or ltv.liquidation(self.around.block.timestamp)):
                needed += [self.state.vaults[vault].exchange, self.state.prices[controller.address, vault]]
        return needed

    def _feared(self, account: AccountState) -> Debt:
        """The debt of an account that could not be read: taken for indebted, because nobody knows that it is not."""
        vault = self._controller(account) or self.topology.lenders.get(account.position.controller or ZERO_ADDRESS)
        raw = account.liquidity(vault).debt_raw if vault else 0
        return Debt((vault or self.topology.vaults[0]).asset, raw if isinstance(raw, int) else 0, 0)

    def _debt(self, controller: Vault, margin: EulerMargin) -> Debt:
        owed = margin.owed
        assert owed is not None  # it owes
        assert owed.price is not None  # it was judged
        fine, token = 10**12, controller.asset
        value = quote(10**token.decimals * fine, owed.price.ask) + 1
        return Debt(token, owed.amount_raw, mul_div_up(value, margin.value_scale, fine), controller.address)

    # What it holds ----------------------------------------------------------------------------------------------------

    def margin(self, account: AccountState) -> EulerMargin:
        """By our own arithmetic; whatever could not be read is missing from it."""
        controller = self._controller(account)
        known = self.topology.by_address
        enabled = [vault for vault in _known(account.collaterals) if vault in known]
        others = [vault for vault in known if vault not in enabled and account.shares[vault]]
        holdings: list[Holding] = []
        for vault in (*enabled, *others):
            shares = account.shares[vault]
            if isinstance(shares, int):
                holdings.append(self._holding(known[vault], shares, controller, vault in enabled))
        holdings = self._one_moves_of_each_token(account, holdings)
        owed = None
        if controller is not None:
            debt, rate = account.liquidity(controller).debt_raw, self.state.vaults[controller.address].rate
            price = self.state.prices[controller.address, controller.address]
            if debt:
                owed = Owed(controller.asset.address, _int(debt), _int(rate), _price(price))
        unit = controller.unit if controller else None
        scale = 10 ** (18 - unit.decimals) if unit else 1
        return EulerMargin(tuple(holdings), owed, self.around.block.timestamp, scale)

    def _one_moves_of_each_token(self, account: AccountState, holdings: Sequence[Holding]) -> list[Holding]:
        """Of several vaults of one token the one of most use; the others stay, under their own address."""
        enrolment = self._enrolment(account)
        moving: dict[Address, Holding] = {}
        for one in holdings:
            best = moving.get(one.underlying)
            if best is None or self.use(account, one, enrolment) > self.use(account, best, enrolment):
                moving[one.underlying] = one
        return [one if moving[one.underlying] is one else replace(one, token=one.vault) for one in holdings]

    def _holding(self, vault: Vault, shares: int, controller: Vault | None, is_enabled: bool) -> Holding:
        exchange, pair = self.state.vaults[vault.address].exchange, (controller or vault).address
        key = (pair, vault.address)
        ltv = self.state.ltvs.get(key) if is_enabled and controller else None
        price = _price(self.state.prices.get(key)) if vault != controller else None
        is_by_share = key in self.topology.by_share
        return Holding(
            vault.address,
            vault.asset.address,
            vault.asset.address,
            shares,
            Exchange(0, 0) if isinstance(exchange, Unknown) else exchange,
            ltv if isinstance(ltv, Ltv) and (ltv.borrow or ltv.liquidation(self.around.block.timestamp)) else None,
            price if is_by_share or not isinstance(exchange, Unknown) else None,
            is_by_share,
        )

    def _reading(self, margin: EulerMargin, controller: Vault) -> Reading:
        readings: list[Reading] = []
        for route in self._routes(margin, controller):
            if route.feeds is None:
                oracle = route.legs[0].oracle
                what = self.share_symbol(route.vault)
                readings.append(
                    FreshnessUnverified(
                        f"oracle {short(oracle)} of {what} in {controller.share.symbol} does not name its price feeds, "
                        "so their age cannot be judged"
                    )
                )
            readings += [self.around.feeds[feed] for feed in route.feeds or ()]
        return worst(readings)

    def _routes(self, margin: EulerMargin, controller: Vault | None) -> list[Route]:
        counted = {holding.vault for holding in margin.holdings if holding.ltv is not None and holding.shares}
        if controller is None or margin.owed is None:
            return []
        wanted = counted | {controller.address}
        return [one for one in self.topology.routes if one.lender == controller.address and one.vault in wanted]

    # Put together -----------------------------------------------------------------------------------------------------

    def _described(
        self,
        account: AccountState,
        held: EulerMargin,
        margin: Margin,
        reading: Reading,
        debts: tuple[Debt, ...],
        notes: Sequence[str],
        unread: tuple[str, ...] = (),
    ) -> Subaccount:
        position, controller = account.position, self._controller(account)
        enrolment = self._enrolment(account)
        problem = reading.reason if isinstance(reading, Unknown) else self.around.lacks_guard(self.guard)
        unjudged = self._unjudged(controller, enrolment)
        problem = problem or unjudged
        lines = [
            self.line(account, holding, held.value_scale, enrolment, has_debt=bool(debts)) for holding in held.holdings
        ]
        if problem is None and not any(line.movable_raw_max for line, _ in lines):
            problem = "; ".join(dict.fromkeys(why for line, why in lines if why and line.amount_raw)) or None
        feeds = [feed for route in self._routes(held, controller) for feed in route.feeds or ()]
        return Subaccount(
            id=position.id,
            label=position.label,
            holder=position.account,
            guard_index=enrolment.index if enrolment else None,
            unit=controller.unit if controller else None,
            collateral=tuple(replace(line, movable_raw_max=0) if problem else line for line, _ in lines),
            debts=debts,
            margin=margin,
            penalty_bps=controller.penalty_bps if controller and debts else 0,
            reading=reading,
            feeds=tuple(dict.fromkeys(feeds)),
            cannot_give=problem,
            cannot_receive=unjudged,
            notes=(*notes, *(why for line, why in lines if why and line.amount_raw and why != problem), *unread),
            unread=unread,
            strike=STRIKE,
        )

    def _enrolment(self, account: AccountState) -> GuardAccount | None:
        return self.around.enrolled.get((GuardProtocol.EULER, self.owner, self.evc, account.position.key))

    def _unjudged(self, controller: Vault | None, enrolment: GuardAccount | None) -> str | None:
        """EulerV2.health, contracts/src/protocols: the guard believes only a controller that the owner enrolled."""
        if controller is None or enrolment is None or controller.address in enrolment.forms:
            return None
        return f"its controller {controller.share.symbol} is not enrolled in the guard; `keeper setup` enrols it anew"

    def _controller(self, account: AccountState) -> Vault | None:
        controllers = _known(account.controllers)
        return self.topology.lenders.get(controllers[0]) if len(controllers) == 1 else None


def _known(listed: tuple[Address, ...] | Unknown) -> tuple[Address, ...]:
    return () if isinstance(listed, Unknown) else listed


def _int(number: int | Unknown) -> int:
    return number if isinstance(number, int) else 0


def _price(price: Price | Unknown | None) -> Price | None:
    return price if isinstance(price, Price) else None
