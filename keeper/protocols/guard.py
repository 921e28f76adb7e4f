"""The owner's MarginGuard, contracts/src/MarginGuard.sol: its state, what it answered, and what its refusals mean.

A guard that belongs to somebody else, or that answers nonsense, is no guard: it is named and nothing is sent to it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from keeper.core.snapshot import GuardAccount, GuardProtocol, GuardState, Unknown
from keeper.core.units import WAD, Address, Wad
from keeper.errors import ProtocolError
from keeper.protocols.abi import explain_revert, interface, short, word_address
from keeper.protocols.base import Call, CallResult, EnrolmentKey, Log

GUARD = "MarginGuard"
_STATE_CALLS = 5
NO_NAMES: Mapping[int, str] = {}

# State ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GuardReader:
    """The guard as part of the cycle's single read, with the caps of these underlyings."""

    address: Address
    owner: Address
    underlyings: tuple[Address, ...]

    def read_calls(self) -> list[Call]:
        """owner, keeper, paused, lastSequence, accounts, then remainingCap of each underlying."""
        guard = interface(GUARD)
        return [
            *(
                Call(self.address, guard[name].encode())
                for name in ("owner", "keeper", "paused", "lastSequence", "accounts")
            ),
            *(Call(self.address, guard["remainingCap"].encode(underlying)) for underlying in self.underlyings),
        ]

    def decode(self, results: Sequence[CallResult]) -> GuardState | Unknown:
        """The guard's state, or why it cannot be used."""
        if not any(result.data or not result.success for result in results):
            return Unknown(f"there is no guard at {self.address}; `keeper setup` deploys it")
        words = [*results[: _STATE_CALLS - 1], *results[_STATE_CALLS:]]
        if any(not result.success or len(result.data) != 32 for result in words):
            return Unknown(f"what is at {self.address} does not answer as a guard; correct its address")
        owner = word_address(results[0].data)
        if owner != self.owner:
            return Unknown(f"the guard at {self.address} belongs to {owner}, not to {self.owner}; correct its address")
        try:
            accounts = _decode_accounts(results[4].data)
        except ProtocolError as error:
            return Unknown(f"the guard at {self.address} answers nonsense: {error}")
        caps = (int.from_bytes(result.data) for result in results[_STATE_CALLS:])
        return GuardState(
            self.address,
            owner,
            word_address(results[1].data),
            any(results[2].data),
            int.from_bytes(results[3].data),
            accounts,
            dict(zip(self.underlyings, caps, strict=True)),
        )


@lru_cache(maxsize=4)
def _decode_accounts(answer: bytes) -> tuple[GuardAccount, ...]:
    """`accounts()`. Enrolments change when the owner sends something, so the same bytes come back cycle after cycle."""
    (accounts,) = interface(GUARD)["accounts"].decode(answer)
    return tuple(_account(index, fields) for index, fields in enumerate(accounts))


def _account(index: int, fields: Any) -> GuardAccount:
    protocol, retired, joined, holder, target, key, assets, (ceiling, min_after, max_after, hard_floor) = fields
    try:
        known = GuardProtocol(protocol)
    except ValueError as error:
        raise ProtocolError(f"account {index} is of protocol {protocol}, which this keeper does not know") from error
    return GuardAccount(
        index,
        known,
        Address(holder),
        Address(target),
        f"0x{key.hex()}",
        tuple(Address(underlying) for underlying, _, _ in assets),
        ceiling,
        min_after,
        max_after,
        hard_floor,
        is_live=joined and not retired,
        forms=tuple(Address(form) for _, form, _ in assets),
        awaits_holder=not joined and not retired,
    )


@lru_cache(maxsize=4)
def enrolled(accounts: tuple[GuardAccount, ...]) -> Mapping[EnrolmentKey, GuardAccount]:
    """The live accounts by what makes them unique."""
    return {
        (account.protocol, account.holder, account.target, account.key): account
        for account in accounts
        if account.is_live
    }


# Answers --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RescueResult:
    """What became of one rescue of a batch, in the batch's order; healths are WAD."""

    ok: bool
    health_before: Wad
    health_after: Wad
    gas_used: int
    """Free of refunds: what the rescue's self-call took."""
    reason: bytes
    """Revert data, at most 256 bytes; `explain_guard_revert` puts it into words."""


def decode_results(answer: bytes) -> tuple[RescueResult, ...]:
    """What `rebalance` returned. Raises ProtocolError for anything that it cannot return."""
    (results,) = interface(GUARD)["rebalance"].decode(answer)
    return _results(results)


def decode_nothing_rescued(revert_data: bytes) -> tuple[RescueResult, ...] | None:
    """The results inside `NothingRescued`; None when it is another refusal."""
    error = interface(GUARD).errors.get(revert_data[:4])
    if error is None or error.name != "NothingRescued":
        return None
    try:
        return _results(decode(error.inputs, revert_data[4:])[0])
    except (DecodingError, OverflowError):
        return None


def _results(decoded: Any) -> tuple[RescueResult, ...]:
    return tuple(RescueResult(*fields) for fields in decoded)


@dataclass(frozen=True, slots=True)
class Rescued:
    plan_id: bytes
    index: int
    """Of the recipient in the guard."""
    health_before: Wad
    health_after: Wad


@dataclass(frozen=True, slots=True)
class RescueFailed:
    plan_id: bytes
    rescue: int
    """Its place in the batch."""
    reason: bytes


@dataclass(frozen=True, slots=True)
class Moved:
    plan_id: bytes
    donor: int
    recipient: int
    underlying: Address
    amount_raw: int


GuardEvent = Rescued | RescueFailed | Moved


def decode_events(guard: Address, logs: Sequence[Log]) -> list[GuardEvent]:
    """What a batch did, from its receipt's logs, in order; logs of other contracts and of settings are passed over."""
    events = interface(GUARD).events
    rescued, failed, moved = events["Rescued"], events["RescueFailed"], events["Moved"]
    decoded: list[GuardEvent] = []
    for log in logs:
        if log.address != guard:
            continue
        match log.topics:
            case (topic, plan_id, index) if topic == rescued.topic:
                before, after = decode(rescued.inputs, log.data)
                decoded.append(Rescued(plan_id, int.from_bytes(index), before, after))
            case (topic, plan_id, rescue) if topic == failed.topic:
                (reason,) = decode(failed.inputs, log.data)
                decoded.append(RescueFailed(plan_id, int.from_bytes(rescue), reason))
            case (topic, plan_id, donor, recipient) if topic == moved.topic:
                underlying, amount_raw = decode(moved.inputs, log.data)
                decoded.append(
                    Moved(plan_id, int.from_bytes(donor), int.from_bytes(recipient), Address(underlying), amount_raw)
                )
            case _:
                pass
    return decoded


# Refusals -------------------------------------------------------------------------------------------------------------

_SENTENCES = {
    "CallerIsNotOwner": "only the owner may do this",
    "CallerIsNotKeeper": "the sender is not the guard's keeper; the owner has to send setKeeper",
    "CallerIsNotOwnerOrKeeper": "only the owner or the keeper may do this",
    "CallerIsNotGuard": "only the guard itself may do this",
    "GuardIsPaused": "the guard is paused; only the owner can unpause it",
    "Reentered": "something called the guard in the middle of a batch",
    "DeadlinePassed": "the batch's deadline {deadline} has passed",
    "WrongSequence": "the plan has sequence number {given}, the guard expects {expected}: another plan was first",
    "NoRescues": "the batch is empty",
    "TooManyRescues": "{count} rescues are more than one batch may have",
    "GasTooLow": "the transaction has too little gas for rescue {index}: {needed} must be left before it",
    "AccountUnknown": "the guard has no {index}",
    "AccountIsRetired": "{index} was retired",
    "HolderHasNotJoined": "{holder}, who holds {index}, has not joined the guard",
    "NoTransfers": "the rescue has no transfers",
    "TooManyTransfers": "{count} transfers are more than one rescue may have",
    "RecipientHasNoDebt": "{index} owes nothing, so it needs no rescue",
    "RecipientIsHealthy": "{index} has health {health}, not below its rescue ceiling {ceiling}",
    "RecipientWorthNoMoreThanItOwes": (
        "{index} is worth no more than it owes (health {health}), so what went into it would pay its lenders' loss"
    ),
    "RecipientAboveMaximum": "{index} would reach health {health}, more than its most of {maximum}",
    "RecipientBelowMinimum": "{index} would reach health {health} only, less than the required {minimum}",
    "DonorIsRecipient": "{index} cannot give to itself",
    "DonorBelowHardFloor": "{index} would be left with health {health}, below its hard floor {hardFloor}",
    "AmountIsZero": "an amount is zero",
    "WrongKind": "the kind of the transfer from {from} to {to} is not the one that this pair takes",
    "AssetUnknown": "{index} has no asset number {asset}",
    "AssetDoesNotMove": "asset number {asset} of {index} can be repaid, but neither given nor put in as collateral",
    "AssetIsNotOwed": "asset number {asset} of {index} is nothing that it can owe",
    "UnderlyingsDiffer": "the tokens differ: {from} is given, {to} is taken",
    "CapExceeded": "moving {amount} raw units of {underlying} exceeds the owner's cap, {remaining} are left",
    "ReceivedAmountDiffers": "{received} raw units of {underlying} arrived instead of {expected}",
    "DebitDiffers": (
        "{index} had {before} raw units and has {afterwards} after giving {amount}: its protocol or token took another "
        "amount than it was asked for"
    ),
    "CreditDiffers": (
        "{index} had {before} raw units and has {afterwards} after receiving {amount}: its protocol booked another "
        "amount than it was given"
    ),
    "RepaymentDiffers": (
        "{index} owed {before} raw units and owes {afterwards} after {amount} were repaid: its protocol booked another "
        "amount than it was given"
    ),
    "BalanceChanged": "the guard's balance of {underlying} would change from {before} to {afterwards} raw units",
    "AllowanceLeft": "the guard would leave an allowance of {amount} raw units of {token} to {spender}",
    "TokenCallFailed": "the token {token} refused: balance or allowance missing, or it does not follow ERC-20",
    "OwnerIsZero": "a guard needs an owner",
    "HolderIsZero": "an account needs a holder",
    "TooManyAccounts": "the guard has no room for more accounts",
    "TooManyAssets": "{count} assets are more than one account may have",
    "AlreadyEnrolled": "the account is enrolled already, as {index}",
    "PolicyOutOfOrder": (
        "the limits are not 1 < hard floor <= survive <= rescue ceiling <= max after (or, for a wallet, all zero)"
    ),
    "AssetsAreDerived": "a Morpho account takes no list of assets",
    "NoAssets": "an account other than Morpho's needs a list of assets",
    "AssetListedTwice": "the token {token} is listed twice",
    "AssetHasNoCode": "there is no token at {token}",
    "WalletHasNoTarget": "a wallet has neither target nor key",
    "PositionUnreadable": "Morpho at {morpho} does not tell what its accounts hold",
    "KeyIsNotZero": "an account on Aave or Venus has no key",
    "ReserveUnknown": "the Aave pool {pool} has no reserve {underlying}",
    "NotASubAccount": "{key} is not the number of one of Euler's 256 sub-accounts",
    "VaultOfAnotherEVC": "the vault {vault} does not belong to Euler's connector {evc}",
    "ChecksAreDeferred": "it was asked from within a batch of Euler's connector {evc}, where no health is final",
    "ControllerIsNotEnrolled": "its controller {controller} is not one of the vaults that it was enrolled with",
    "MarketOfAnotherPool": "the market {market} does not belong to Venus's pool {comptroller}",
    "MarketNotEntered": (
        "{holder} did not enter Venus's market {market}, so what arrives there would back nothing: it has to send "
        "enterMarkets"
    ),
    "PriceIsZero": "Venus has no price for its market {market}",
    "AmountTooFine": "{amount} raw units are too few for Venus's market {market}, which rounds: at least {least}",
    "MarketUnknown": "Morpho at {morpho} has no market {id}",
    "RecordNotWritten": "the account's record could not be stored",
    "WindowIsZero": "the cap of {underlying} has a window of zero seconds",
}
_HEALTHS = {"health", "ceiling", "minimum", "maximum", "breakEven", "hardFloor"}
_ACCOUNTS = {"index", "from", "to"}


def explain_guard_revert(data: bytes, account_names: Mapping[int, str] = NO_NAMES) -> str:
    """Why the guard, or a protocol behind it, refused: a sentence without its full stop; never raises.

    `account_names` has what people call the accounts, by enrolment index.
    """
    guard = interface(GUARD)
    results = decode_nothing_rescued(data)
    if results is not None:
        each = (
            f"rescue {place}: {explain_guard_revert(one.reason, account_names)}" for place, one in enumerate(results)
        )
        return f"no rescue took effect ({'; '.join(each)})"
    error = guard.errors.get(data[:4])
    if error is None or error.name not in _SENTENCES:
        return explain_revert(data, [guard])
    try:
        values = decode(error.inputs, data[4:])
    except (DecodingError, OverflowError):
        return explain_revert(data, [guard])
    shown: dict[str, str] = {}
    for name, type, value in zip(error.names, error.inputs, values, strict=True):
        if type == "address":
            shown[name] = short(value)
        elif name in _HEALTHS:
            shown[name] = _health(value)
        elif name in _ACCOUNTS and type == "uint16":
            shown[name] = account_names.get(value, f"account {value}")
        elif type == "bytes32":
            shown[name] = f"0x{value.hex()}"
        else:
            shown[name] = str(value)
    return _SENTENCES[error.name].format_map(shown)


def _health(health: Wad) -> str:
    """Four decimals, rounded down."""
    return f"{Decimal(health * 10_000 // WAD).scaleb(-4):f}"
