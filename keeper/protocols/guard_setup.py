"""The owner's side of the guard: where it is deployed, what its code must be, and the transactions that set it up.

Each transaction comes with a sentence on what it allows, because the owner signs it and the keeper cannot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from typing import Any

from eth_utils.crypto import keccak

from keeper.core.amounts import exact_text
from keeper.core.snapshot import GuardProtocol, Token
from keeper.core.units import WAD, Address, Wad
from keeper.protocols.aave.versions import SPECK_RAW
from keeper.protocols.abi import address_bytes, interface, load_json
from keeper.protocols.base import Enrolment
from keeper.protocols.guard import GUARD
from keeper.protocols.permissions import Place

DEPLOYER = Address("0x4e59b44847b379578588920ca78fbf26c0b4956c")
"""The deterministic deployment proxy, at the same address on nearly every chain: salt and init code in, CREATE2 out."""

_SALT = bytes(32)


@dataclass(frozen=True, slots=True)
class OwnerCall:
    """One transaction for the owner to send."""

    to: Address
    data: bytes
    value_wei: int
    says: str
    """What it does and what it allows, a sentence."""
    sender: Address | None = None
    """Who has to send it, where that is not the owner: the holder of another account."""


# The code -------------------------------------------------------------------------------------------------------------


LIBRARY = "Shares"
"""The part of the guard that has no room in it, contracts/src/Shares.sol: one for all guards of a chain."""


@cache
def _artefact(name: str = GUARD) -> Mapping[str, Any]:
    return load_json(name)


def library_address() -> Address:
    """Where the library is on every chain: written into the guard's code, so there is no choice."""
    return Address(_artefact(LIBRARY)["address"])


def library_init_code() -> bytes:
    return bytes.fromhex(_artefact(LIBRARY)["bytecode"]["object"][2:])


def library_code_hash() -> bytes:
    """keccak of the code that must be at the library's address, what EXTCODEHASH answers."""
    return keccak(bytes.fromhex(_artefact(LIBRARY)["deployedBytecode"]["object"][2:]))


def guard_init_code(owner: Address) -> bytes:
    """Creation code with the owner as its only argument."""
    return bytes.fromhex(_artefact()["bytecode"]["object"][2:]) + bytes(12) + address_bytes(owner)


def guard_address(owner: Address) -> Address:
    """Where an owner's guard is on every chain. EIP-1014."""
    hashed = keccak(b"\xff" + address_bytes(DEPLOYER) + _SALT + keccak(guard_init_code(owner)))
    return Address("0x" + hashed[12:].hex())


def guard_runtime_code(owner: Address) -> bytes:
    """The code that must be at the guard's address: what was compiled, with the owner in its place."""
    deployed = _artefact()["deployedBytecode"]
    code = bytearray.fromhex(deployed["object"][2:])
    word = bytes(12) + address_bytes(owner)
    for places in deployed["immutableReferences"].values():
        for place in places:
            code[place["start"] : place["start"] + place["length"]] = word
    return bytes(code)


def guard_code_hash(owner: Address) -> bytes:
    """keccak of `guard_runtime_code`, what EXTCODEHASH answers."""
    return keccak(guard_runtime_code(owner))


# The owner's transactions ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limits:
    """The owner's limits for one account, WAD healths; all zero for a wallet."""

    rescue_ceiling: Wad
    min_after: Wad
    max_after: Wad
    hard_floor: Wad


@dataclass(frozen=True, slots=True)
class Cap:
    """How much of a token may move in any `window_seconds`."""

    token: Token
    amount_raw: int
    window_seconds: int


def deploy_guard(owner: Address) -> OwnerCall:
    return OwnerCall(
        DEPLOYER,
        _SALT + guard_init_code(owner),
        0,
        f"Deploys the guard of {owner} at {guard_address(owner)}; by itself it may do nothing.",
    )


def deploy_library() -> OwnerCall:
    return OwnerCall(
        DEPLOYER,
        _SALT + library_init_code(),
        0,
        f"Deploys the library that the guard's code is linked with at {library_address()}; it belongs to nobody, keeps "
        "nothing, and every guard on the chain uses it.",
    )


def enrol(guard: Address, accounts: Sequence[tuple[Enrolment, Limits]]) -> OwnerCall:
    arguments = [
        (one.protocol.value, one.holder, one.target, bytes.fromhex(one.key[2:]), list(one.assets), _fields(limits))
        for one, limits in accounts
    ]
    labels_of: dict[str, list[str]] = {}
    for one, limits in accounts:
        labels_of.setdefault(_limits(one, limits), []).append(one.label)
    sentences = (f"{', '.join(labels)} ({limits})" for limits, labels in labels_of.items())
    return _to_guard(guard, "enrol", [arguments], f"Enrols {'; '.join(sentences)}.")


def set_policy(guard: Address, index: int, enrolment: Enrolment, limits: Limits) -> OwnerCall:
    says = f"Changes the limits of {enrolment.label}: {_limits(enrolment, limits)}."
    return _to_guard(guard, "setPolicy", [index, _fields(limits)], says)


def retire(guard: Address, accounts: Mapping[int, str]) -> OwnerCall:
    """By index, with what people call each."""
    return _to_guard(
        guard, "retire", [list(accounts)], f"Takes {', '.join(accounts.values())} out of the guard for good."
    )


def set_caps(guard: Address, caps: Sequence[Cap]) -> OwnerCall:
    arguments = [(cap.token.address, cap.amount_raw, cap.window_seconds) for cap in caps]
    sentences = (f"{exact_text(cap.amount_raw, cap.token)} in any {_duration(cap.window_seconds)}" for cap in caps)
    return _to_guard(guard, "setCaps", [arguments], f"Lets at most {', '.join(sentences)} move between the accounts.")


def set_keeper(guard: Address, keeper: Address) -> OwnerCall:
    says = (
        f"Lets {keeper} move collateral between the enrolled accounts, within their limits and the caps, and pause "
        "the guard; nothing else, and nothing to anybody else."
    )
    return _to_guard(guard, "setKeeper", [keeper], says)


def unpause(guard: Address) -> OwnerCall:
    return _to_guard(guard, "unpause", [], "Lets the keeper act again.")


def join(guard: Address, holder: Address) -> OwnerCall:
    says = (
        f"Has {holder} join the guard: its owner may then have collateral moved from this holder's enrolled accounts "
        "into the others, within limits that the owner sets, until the holder sends `leave`."
    )
    return replace(_to_guard(guard, "join", [], says), sender=holder)


def authorise_on_morpho(guard: Address, morpho: Address, is_authorised: bool = True) -> OwnerCall:
    says = (
        "Authorises the guard on Morpho, so that it can withdraw collateral. Morpho's authorisation is all or nothing; "
        "the guard's code has no way to borrow, to withdraw loans, or to send anything elsewhere."
        if is_authorised
        else "Takes the guard's authorisation on Morpho back."
    )
    data = interface("Morpho")["setAuthorization"].encode(guard, is_authorised)
    return OwnerCall(morpho, data, 0, says)


def approve(guard: Address, token: Token, amount_raw: int) -> OwnerCall:
    says = (
        f"Lets the guard take at most {exact_text(amount_raw, token)} from the wallet, into the enrolled accounts only."
        if amount_raw
        else f"Takes the guard's allowance of {token.symbol} back."
    )
    return OwnerCall(token.address, interface("ERC20")["approve"].encode(guard, amount_raw), 0, says)


def approve_a_token(guard: Address, a_token: Token, amount_raw: int) -> OwnerCall:
    """The allowance shrinks by what is taken, and does not grow with interest."""
    says = (
        f"Lets the guard take at most {exact_text(amount_raw, a_token)} from this Aave account, into the enrolled "
        "accounts only, and as long as the account stays healthy."
        if amount_raw
        else f"Takes the guard's allowance of {a_token.symbol} back."
    )
    return OwnerCall(a_token.address, interface("ERC20")["approve"].encode(guard, amount_raw), 0, says)


def leave_speck(guard: Address, a_token: Token) -> OwnerCall:
    """See `needs_speck` of keeper/protocols/aave/versions.py."""
    says = (
        f"Leaves {SPECK_RAW} raw units of {a_token.symbol} with the guard for good: Aave v3.0 rounds to the nearest, "
        "and without them would refuse every now and then what is to be withdrawn."
    )
    return OwnerCall(a_token.address, interface("ERC20")["transfer"].encode(guard, SPECK_RAW), 0, says)


def approve_v_token(guard: Address, v_token: Token, amount_raw: int) -> OwnerCall:
    """Counted in vTokens: the allowance shrinks by what is taken, and a vToken is worth more as interest accrues."""
    says = (
        f"Lets the guard take at most {exact_text(amount_raw, v_token)} (vTokens) from this account on Venus, into the "
        "enrolled accounts only, and as long as its pool finds the account healthy."
        if amount_raw
        else f"Takes the guard's allowance of {v_token.symbol} back."
    )
    return OwnerCall(v_token.address, interface("ERC20")["approve"].encode(guard, amount_raw), 0, says)


def approve_shares(guard: Address, place: Place, share: Token, label: str, shares: int) -> OwnerCall:
    """From an Euler sub-account, counted in shares: through the EVC, or straight to the vault by the owner itself.

    The allowance shrinks by what is taken, and a share is worth more as interest accrues.
    """
    says = (
        f"Lets the guard take at most {exact_text(shares, share)} (shares) from {label}, into the enrolled accounts "
        "only, and as long as its vault finds the account healthy."
        if shares
        else f"Takes the guard's allowance of {share.symbol} from {label} back."
    )
    data = interface("ERC20")["approve"].encode(guard, shares)
    if place.evc is None:
        return OwnerCall(share.address, data, 0, says)
    return OwnerCall(place.evc, interface("EVC")["call"].encode(share.address, place.holder, 0, data), 0, says)


def approve_on_aave(guard: Address, pool: Address, is_approved: bool = True) -> OwnerCall:
    says = (
        "Makes the guard a position manager of this Aave account, so that it can switch on as collateral what it "
        "brings. A position manager may switch collateral on and off and change the e-mode, each only while the "
        "account stays healthy; it can neither withdraw nor borrow, and the guard's code can only switch on."
        if is_approved
        else "Makes the guard a position manager of this Aave account no longer."
    )
    return OwnerCall(pool, interface("AavePool")["approvePositionManager"].encode(guard, is_approved), 0, says)


def _to_guard(guard: Address, function: str, arguments: Sequence[object], says: str) -> OwnerCall:
    return OwnerCall(guard, interface(GUARD)[function].encode(*arguments), 0, says)


def _fields(limits: Limits) -> tuple[int, int, int, int]:
    return limits.rescue_ceiling, limits.min_after, limits.max_after, limits.hard_floor


def _limits(enrolment: Enrolment, limits: Limits) -> str:
    if enrolment.protocol is GuardProtocol.WALLET:
        return "may give within its allowances and the caps"
    return (
        f"receives only below health {_health(limits.rescue_ceiling)} and must then end between "
        f"{_health(limits.min_after)} and {_health(limits.max_after)}, is never left below "
        f"{_health(limits.hard_floor)} by giving"
    )


def _health(health: Wad) -> str:
    return f"{(Decimal(health) / WAD).normalize():f}"


def _duration(seconds: int) -> str:
    unit, length = next(
        (unit, length)
        for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
        if seconds % length == 0
    )
    return unit if seconds == length else f"{seconds // length} {unit}s"
