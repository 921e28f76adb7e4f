"""A plan as one transaction to the guard: its id, its calldata and its gas.

Gas never comes from an estimate: with isolated rescues an estimate is satisfied with one of them starving. Each rescue
gets its own budget, and the transaction enough that the guard can give every rescue its whole budget.
"""

from collections.abc import Sequence
from itertools import accumulate

from keeper.core.economics import Place, entered, entry_gas
from keeper.core.plan import Plan, Rescue, Transfer
from keeper.core.snapshot import GuardAccount, Snapshot, Subaccount, SubaccountId
from keeper.core.units import Address
from keeper.errors import ProtocolError
from keeper.protocols.abi import interface
from keeper.protocols.guard import GUARD

TRANSACTION_GAS_MAX = 2**24
"""EIP-7825; some chains allow more, none less."""

_SEQUENCE_SHIFT = 192

# The id ---------------------------------------------------------------------------------------------------------------


def plan_id(sequence: int, digest: bytes) -> bytes:
    """The id under which a batch takes effect at most once: the sequence number in 64 bits, then 192 bits of a digest.

    `sequence` is the guard's last one plus one; the guard accepts no other.
    """
    return ((sequence << _SEQUENCE_SHIFT) | int.from_bytes(digest[:24])).to_bytes(32)


def plan_sequence(plan_id: bytes) -> int:
    """The sequence number in a plan id."""
    return int.from_bytes(plan_id) >> _SEQUENCE_SHIFT


# The calldata ---------------------------------------------------------------------------------------------------------


def pause_calldata() -> bytes:
    """`pause()`, which the keeper may send as well as the owner."""
    return interface(GUARD)["pause"].encode()


def keeper_selectors() -> frozenset[bytes]:
    """The only functions of the guard that the hot key has any business with."""
    return frozenset((interface(GUARD)["rebalance"].selector, interface(GUARD)["pause"].selector))


def encode_rebalance(
    plan: Plan, snapshot: Snapshot, plan_id: bytes, deadline: int, gas_by_rescue: Sequence[int]
) -> bytes:
    """Calldata of `rebalance` for all rescues of a plan, in its order.

    Raises ProtocolError when a subaccount or token of the plan is not enrolled: that cannot be expressed.
    """
    enrolments = _enrolments(snapshot)
    bodies = [_rescue(rescue, gas, enrolments) for rescue, gas in zip(plan.rescues, gas_by_rescue, strict=True)]
    # By hand, because eth_abi takes ten times as long and a batch is encoded between a head and its send.
    *starts, _ = accumulate((len(body) for body in bodies), initial=32 * len(bodies))
    return b"".join(
        (
            interface(GUARD)["rebalance"].selector,
            plan_id,
            _words(deadline, 96, len(bodies)),
            _words(*starts),
            *bodies,
        )
    )


_Enrolments = dict[SubaccountId, tuple[Subaccount, GuardAccount]]


def _enrolments(snapshot: Snapshot) -> _Enrolments:
    if snapshot.guard is None:
        raise ProtocolError(snapshot.guard_problem or "no guard is configured, so nothing can be moved")
    accounts = snapshot.guard.accounts
    return {
        subaccount.id: (subaccount, accounts[subaccount.guard_index])
        for subaccount in snapshot.subaccounts
        if subaccount.guard_index is not None
    }


def _rescue(rescue: Rescue, gas: int, enrolments: _Enrolments) -> bytes:
    _, recipient = _enrolled(rescue.recipient, enrolments)
    transfers = [_transfer(transfer, enrolments) for transfer in rescue.transfers]
    return _words(recipient.index, rescue.min_health_after, gas, 128, len(transfers)) + b"".join(transfers)


def _transfer(transfer: Transfer, enrolments: _Enrolments) -> bytes:
    (giving, donor), (taking, recipient) = (_enrolled(id, enrolments) for id in (transfer.donor, transfer.recipient))
    token = transfer.token.address
    given, taken = giving.line(token), taking.debt(token) if transfer.is_repayment else taking.line(token)
    return _words(
        transfer.kind.value,
        donor.index,
        _asset_index(donor, token, given and given.form),
        _asset_index(recipient, token, taken and taken.form),
        transfer.amount_raw,
    )


def _words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(32) for number in numbers)


def _enrolled(id: SubaccountId, enrolments: _Enrolments) -> tuple[Subaccount, GuardAccount]:
    found = enrolments.get(id)
    if found is None:
        raise ProtocolError(f"{id} is not enrolled in the guard; `keeper setup` enrols it")
    return found


def _asset_index(account: GuardAccount, token: Address, form: Address | None) -> int:
    """By the form in which the account has or owes it, if that is known: several vaults may hold the same token."""
    forms = account.forms if form is not None else ()
    for place, asset in enumerate(account.assets):
        if asset == token and (not forms or forms[place] == form):
            return place
    as_held = f" held as {form}" if forms and form != token else ""
    raise ProtocolError(f"account {account.index} of the guard does not have {token}{as_held} as an asset")


# The gas --------------------------------------------------------------------------------------------------------------

# Of MarginGuard.sol.
_FINISH_GAS = 30_000

# Measured: 170k for one transfer between two markets of Morpho, 870k from Aave to Venus, up to 270k for another one.
_SIMULATED_BASE_GAS = 700_000
_SIMULATED_TRANSFER_GAS = 300_000
# And up to 240k for each market that an account on Venus entered beyond the two of those measurements. Too much costs
# nothing: it only has to stay within what a node grants an eth_call, mostly 50 million, and what a block holds.
_SIMULATED_ROOM_GAS = 2_000_000
_CALL_GAS_MAX = 50_000_000

# Before the first rescue: the dispatch, reading the keeper's slot and writing it, room for the results.
_ENTRY_GAS = 30_000
# Around each rescue: its calldata copied for the call to itself, the event, its result (256 bytes of reason at most).
_AROUND_RESCUE_GAS = 12_000
_AROUND_TRANSFER_GAS = 2_000


def simulated_gas(rescues: Sequence[Rescue], block_gas_limit: int) -> list[int]:
    """Each rescue's budget for the simulation that finds out what it really takes."""
    least = [_SIMULATED_BASE_GAS + _SIMULATED_TRANSFER_GAS * len(rescue.transfers) for rescue in rescues]
    # A tenth is for what is around them.
    left = max(min(block_gas_limit, _CALL_GAS_MAX) * 9 // 10 - sum(least), 0)
    room = min(left // max(len(rescues), 1), _SIMULATED_ROOM_GAS)
    return [gas + room for gas in least]


def budgets(rescues: Sequence[Rescue], used: Sequence[int]) -> list[int]:
    """Each rescue's budget, from the refund-free gas that it took in the simulation.

    Half as much again and 60,000 on top: by the time of inclusion a market may have to be accrued with a stateful
    interest model, and a token balance may start from zero. And what those before it entered, for it has to enter that
    itself when they fail: what a call that reverts had warmed is cold again (EIP-2929).
    """
    found: list[int] = []
    warm = frozenset[Place]()
    for rescue, gas in zip(rescues, used, strict=True):
        places = entered(rescue)
        found.append(gas * 3 // 2 + 60_000 + entry_gas(places & warm))
        warm |= places
    return found


def transaction_gas(calldata: bytes, plan: Plan, gas_by_rescue: Sequence[int]) -> int:
    """The gas limit with which every rescue gets its whole budget, even if all before it used up theirs.

    A call is given at most 63/64 of what is left (EIP-150), and the guard refuses to start a rescue with less than
    64/63 of its budget and `FINISH_GAS`. May exceed `TRANSACTION_GAS_MAX`: then the batch has too many rescues.
    """
    zeros = calldata.count(0)
    tokens = zeros + 4 * (len(calldata) - zeros)
    execution = (
        _ENTRY_GAS
        + sum(gas_by_rescue)
        + sum(_AROUND_RESCUE_GAS + _AROUND_TRANSFER_GAS * len(rescue.transfers) for rescue in plan.rescues)
        + max(gas_by_rescue) // 63
        + 1
        + _FINISH_GAS
    )
    # EIP-2028: 4 gas a token; EIP-7623: never less than 10 gas a token in all.
    return 21_000 + max(4 * tokens + execution, 10 * tokens)
