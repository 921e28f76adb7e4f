"""What other holders of enrolled accounts have to send: each of them joins the guard and permits it himself."""

from collections.abc import Sequence
from dataclasses import replace

from keeper.commands.specks import specks_missing
from keeper.core.snapshot import Snapshot
from keeper.core.units import Address
from keeper.protocols.aave.adapter import AaveV3
from keeper.protocols.abi import interface
from keeper.protocols.base import Call
from keeper.protocols.guard_setup import (
    OwnerCall,
    approve_a_token,
    approve_on_aave,
    approve_v_token,
    guard_address,
    join,
    leave_speck,
)
from keeper.protocols.venus.adapter import VenusPool
from keeper.session import Session


async def holders_calls(session: Session) -> list[OwnerCall]:
    """In the order to send them; none where there is no other holder, or nothing is missing of his."""
    snapshot = await session.look()
    owner = session.portfolio.topology.owner
    guard = session.config.guard.address or guard_address(owner)
    calls: list[OwnerCall] = []
    for adapter in session.portfolio.topology.adapters:
        if isinstance(adapter, AaveV3 | VenusPool):
            for holder in (account.address for account in adapter.pool.accounts if account.address != owner):
                calls += _joining(snapshot, guard, holder)
                calls += await _permitting(session, snapshot, adapter, guard, holder)
    return list(dict.fromkeys(calls))


def _joining(snapshot: Snapshot, guard: Address, holder: Address) -> Sequence[OwnerCall]:
    accounts = () if snapshot.guard is None else snapshot.guard.accounts
    has_joined = any(account.holder == holder and account.is_live for account in accounts)
    return [] if has_joined else [join(guard, holder)]


async def _permitting(
    session: Session, snapshot: Snapshot, adapter: AaveV3 | VenusPool, guard: Address, holder: Address
) -> Sequence[OwnerCall]:
    erc20 = interface("ERC20")
    tokens = list(adapter.a_tokens().values()) if isinstance(adapter, AaveV3) else adapter.movable_shares()
    approve = approve_a_token if isinstance(adapter, AaveV3) else approve_v_token
    reads = [
        Call(token.address, data)
        for token in tokens
        for data in (erc20["allowance"].encode(holder, guard), erc20["balanceOf"].encode(holder))
    ]
    results = await session.reader.aggregate(reads, snapshot.block)
    amounts = [int.from_bytes(result.data) if result.success else 0 for result in results]
    calls = [
        approve(guard, token, balance)
        for token, allowance, balance in zip(tokens, amounts[::2], amounts[1::2], strict=True)
        if balance and not allowance
    ]
    mine = (each for each in snapshot.subaccounts if each.id.protocol == adapter.name and each.holder == holder)
    if isinstance(adapter, AaveV3) and any(adapter.wants_manager(each) for each in mine):
        calls.append(approve_on_aave(guard, adapter.pool.address))
    if isinstance(adapter, AaveV3):
        specks = await specks_missing(session, snapshot.block, adapter, guard, holder)
        calls += [leave_speck(guard, token) for token in specks]
    return [replace(call, sender=holder) for call in calls]
