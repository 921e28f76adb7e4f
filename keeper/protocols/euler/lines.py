"""What of an Euler account may move, and why not: permissions, disabled transfers, collateral that does not count.

Shares go from account to account by `transfer`. Only the source has to permit that; the recipient is not asked, and not
checked either.
"""

from dataclasses import dataclass

from keeper.core.amounts import amount_text, figure
from keeper.core.snapshot import CollateralLine, GuardAccount, Token, Unknown
from keeper.core.units import BPS, WAD, Address
from keeper.protocols.abi import ZERO_ADDRESS, short
from keeper.protocols.base import Around
from keeper.protocols.euler.math import AMOUNT_MAX, EulerMargin, Holding, wad_per_token
from keeper.protocols.euler.reading import AccountState, State
from keeper.protocols.euler.topology import Topology, Vault

# EVK Constants.sol: the bits of `hookedOps`.
OP_DEPOSIT, OP_WITHDRAW, OP_TRANSFER = 1 << 0, 1 << 2, 1 << 4
_OPERATIONS = {OP_DEPOSIT: "deposits", OP_WITHDRAW: "withdrawals", OP_TRANSFER: "transfers"}


@dataclass(frozen=True, slots=True)
class Cycle:
    """What one cycle's accounts are read from."""

    topology: Topology
    evc: Address
    owner: Address
    guard: Address | None
    state: State
    around: Around

    def share_symbol(self, address: Address) -> str:
        vault = self.topology.by_address.get(address)
        return vault.share.symbol if vault else short(address)

    def notes(self, account: AccountState, margin: EulerMargin) -> list[str]:
        """What is there and does not count, and what of the owner's settings is out of the ordinary."""
        notes: list[str] = []
        if self.state.is_locked_down:
            notes.append("the owner's EVC lockdown mode is on; allowances of shares work all the same")
        if self.state.has_permits_disabled:
            notes.append("the owner's EVC permits are disabled; nothing here is done by permit")
        if isinstance(account.collaterals, Unknown):
            return notes
        controllers = () if isinstance(account.controllers, Unknown) else account.controllers
        for holding in margin.holdings:
            name = self.share_symbol(holding.vault)
            room = self.state.vaults[holding.vault].room
            if holding.ltv is not None and isinstance(room, Unknown):
                notes.append(f"{room.reason}; only shares can arrive")
            elif holding.ltv is not None and room == 0:
                notes.append(f"{name} is at its supply cap; only shares can arrive")
            if not controllers or not holding.shares or holding.ltv is not None:
                continue
            if holding.vault not in account.collaterals:
                notes.append(f"{name} does not count: it is not enabled as collateral (EVC.enableCollateral)")
            else:
                notes.append(f"{name} does not count: {self.share_symbol(controllers[0])} gives it no LTV")
        return notes

    def line(
        self,
        account: AccountState,
        holding: Holding,
        value_scale: int,
        enrolment: GuardAccount | None,
        *,
        has_debt: bool,
    ) -> tuple[CollateralLine, str | None]:
        """One vault's shares as assets of its underlying, and why not all of it can be given."""
        vault = self.topology.by_address[holding.vault]
        token = vault.asset
        if holding.token != holding.underlying:
            token = Token(vault.address, vault.share.symbol, vault.asset.decimals)
        shares, closed = self._movable(account, holding, vault, enrolment)
        assets, movable = holding.exchange.assets_down(holding.shares), holding.exchange.assets_down(shares)
        may_arrive = self._immovable(holding, vault, enrolment) is None and (holding.ltv is not None or not has_debt)
        receivable = max(AMOUNT_MAX - assets, 0) if may_arrive else 0
        suppliable = self._suppliable(vault)
        cash = self.state.vaults[vault.address].cash
        withdrawable = min(movable, cash) if isinstance(cash, int) and not self._closed(vault, OP_WITHDRAW) else 0
        price = maintenance = initial = 0
        if holding.price is not None:
            price = wad_per_token(holding, holding.price.bid, vault.asset.decimals, value_scale)
            if holding.ltv is not None:
                raw = 10**vault.asset.decimals
                mid = wad_per_token(holding, holding.price.mid, vault.asset.decimals, value_scale)
                maintenance = mid * holding.ltv.liquidation(self.around.block.timestamp) * WAD // (BPS * raw)
                initial = price * holding.ltv.borrow * WAD // (BPS * raw)
        line = CollateralLine(
            token,
            assets,
            movable,
            receivable,
            maintenance,
            initial,
            price,
            withdrawable if withdrawable < movable else None,
            None if suppliable is None or not receivable else min(suppliable, receivable),
            vault.address,
        )
        return line, closed

    def use(
        self, account: AccountState, holding: Holding, enrolment: GuardAccount | None
    ) -> tuple[bool, bool, bool, int]:
        """How fit it is to be the one that moves of its token's vaults: the more, the greater.

        One that can neither give nor receive is of no use, whatever is in it; one that does not count receives nothing
        when its account owes; then comes one that can give.
        """
        vault = self.topology.by_address[holding.vault]
        can_give = self._movable(account, holding, vault, enrolment)[0] > 0
        assets = holding.exchange.assets_down(holding.shares)
        return self._fixed(vault, enrolment) is None, holding.ltv is not None, can_give, assets

    def _movable(
        self, account: AccountState, holding: Holding, vault: Vault, enrolment: GuardAccount | None
    ) -> tuple[int, str | None]:
        """Shares that the vault, the guard's enrolment and its permission let leave, whatever the margin says.

        The vault's cash does not matter to a transfer of shares; it does to whoever withdraws the underlying.
        """
        if (immovable := self._immovable(holding, vault, enrolment)) is not None:
            return 0, immovable
        if isinstance(exchange := self.state.vaults[vault.address].exchange, Unknown):
            return 0, exchange.reason
        if self.around.lacks_guard(self.guard) is not None:
            return holding.shares, None
        allowance = account.allowances[vault.address]
        if isinstance(allowance, Unknown):
            return 0, allowance.reason
        if allowance >= holding.shares:
            return holding.shares, None
        share = vault.share
        return allowance, (
            f"the guard may take {figure(allowance, share.decimals)} of {amount_text(holding.shares, share)}: approve "
            "more shares to make it available"
        )

    def _immovable(self, holding: Holding, vault: Vault, enrolment: GuardAccount | None) -> str | None:
        """Why shares can neither leave nor arrive, permissions and margin aside."""
        if holding.token != holding.underlying:
            counts = "counts, but does not move" if holding.ltv is not None else "does not move"
            return f"{vault.share.symbol} {counts}: of several vaults of {vault.asset.symbol} one does"
        return self._fixed(vault, enrolment)

    def _fixed(self, vault: Vault, enrolment: GuardAccount | None) -> str | None:
        """Why shares of a vault can neither leave nor arrive, whichever of its token's vaults is the one that moves."""
        if (closed := self._closed(vault, OP_TRANSFER)) is not None:
            return closed
        if enrolment is not None and vault.address not in enrolment.forms:
            return f"{vault.share.symbol} is not enrolled in the guard, so it cannot move; `keeper setup` enrols it"
        return None

    def _suppliable(self, vault: Vault) -> int | None:
        """What may arrive as the underlying, from outside the vault; shares that move meet no cap. None: no limit."""
        room = self.state.vaults[vault.address].room
        return 0 if isinstance(room, Unknown) or self._closed(vault, OP_DEPOSIT) else room

    def _closed(self, vault: Vault, operation: int) -> str | None:
        """Base.callHook: an operation with its bit set and no hook to ask is disabled; a hook may still refuse."""
        state = self.state.vaults[vault.address]
        if isinstance(state.hooked_operations, Unknown):
            return state.hooked_operations.reason
        if state.hooked_operations & operation and state.hook_target == ZERO_ADDRESS:
            return f"the governor of {vault.share.symbol} disabled its {_OPERATIONS[operation]}"
        return None
