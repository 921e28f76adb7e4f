"""The guard's part of `keeper check`: its code and settings, what it was granted, what a stolen hot key could do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from eth_utils.crypto import keccak

from keeper.commands.finding import Finding, Grade
from keeper.core.amounts import amount_text
from keeper.core.policy import disagreements
from keeper.core.snapshot import Snapshot, Token
from keeper.core.units import Address
from keeper.documents import Document
from keeper.exposure import Worst, exposure_document, limits, permission_text, worst_cases
from keeper.protocols.aave.adapter import AaveV3
from keeper.protocols.abi import ZERO_ADDRESS, interface
from keeper.protocols.base import Call
from keeper.protocols.euler.adapter import EulerV2
from keeper.protocols.guard_setup import guard_address, guard_code_hash, library_address, library_code_hash
from keeper.protocols.morpho.adapter import MorphoBlue
from keeper.protocols.permissions import Permission, decode_permissions, permission_calls, questions
from keeper.protocols.venus.adapter import VenusPool
from keeper.protocols.wallet import Wallet
from keeper.report import short, usd_text
from keeper.session import Session


async def code_findings(session: Session, snapshot: Snapshot) -> list[Finding]:
    """Whether there is code at every address that is called, and the guard's is the one that was built with this."""
    guard = session.config.guard.address or guard_address(session.config.guard.owner)
    code = await session.rpc.code(guard, snapshot.block.hash)
    library = await session.rpc.code(library_address(), snapshot.block.hash)
    findings = [_guard_code(session, snapshot, code, guard), _library_code(library)]
    for adapter in session.portfolio.topology.adapters:
        match adapter:
            case MorphoBlue():
                check, name, address, key = "morpho", "Morpho", adapter.morpho, "address"
            case AaveV3():
                check, name, address, key = "aave", f"Aave v{adapter.version.name}", adapter.pool.address, "pool"
            case EulerV2():
                check, name, address, key = "euler", "Euler's connector", adapter.evc, "evc"
            case VenusPool():
                check, name, address, key = "venus", "Venus's pool", adapter.pool.comptroller, "comptroller"
            case Wallet():
                continue
        code = await session.rpc.code(address, snapshot.block.hash)
        says = f"{name} at {address} has code with hash 0x{keccak(code).hex()}"
        findings.append(
            Finding(Grade.FINE, check, says)
            if code
            else Finding(Grade.FAILURE, check, f"there is no code at {address}", f"correct [[protocols]] {key}")
        )
    return findings


def _guard_code(session: Session, snapshot: Snapshot, code: bytes, guard: Address) -> Finding:
    owner = session.config.guard.owner
    found, expected = keccak(code), guard_code_hash(owner)
    if not code and guard != guard_address(owner):
        fix = f"correct [guard] address, or leave it out: `keeper setup` deploys it at {guard_address(owner)}"
        return Finding(Grade.FAILURE, "guard", f"there is no code at {guard}", fix)
    if not code:
        return Finding(Grade.FAILURE, "guard", f"there is no code at {guard}", "`keeper setup` deploys it")
    if snapshot.guard is None:
        return Finding(Grade.FAILURE, "guard", snapshot.guard_problem or "it could not be read")
    if found != expected:
        says = f"the code at {guard} (hash 0x{found.hex()}) is not this keeper's guard for {owner} (0x{expected.hex()})"
        fix = "give it no permission, take back those that it has, and correct [guard]"
        return Finding(Grade.FAILURE, "guard", says, fix)
    return Finding(Grade.FINE, "guard", f"the code at {guard} is the guard's, hash 0x{found.hex()}")


def _library_code(code: bytes) -> Finding:
    address, found, expected = library_address(), keccak(code), library_code_hash()
    if not code:
        return Finding(Grade.FAILURE, "library", f"there is no code at {address}", "`keeper setup` deploys it")
    if found != expected:
        says = f"the code at {address} (hash 0x{found.hex()}) is not the guard's library (0x{expected.hex()})"
        return Finding(Grade.FAILURE, "library", says, "take back every permission that the guard has")
    return Finding(Grade.FINE, "library", f"the code at {address} is the guard's library, hash 0x{found.hex()}")


def settings_findings(session: Session, snapshot: Snapshot) -> Iterator[Finding]:
    guard = snapshot.guard
    if guard is None:
        return  # what is wrong with it was said when its code was looked at
    hot_key = session.portfolio.topology.keeper
    if guard.is_paused:
        yield Finding(Grade.FAILURE, "guard", "it is paused", "the owner sends unpause (`keeper setup --unpause`)")
    if guard.keeper == ZERO_ADDRESS:
        yield Finding(Grade.FAILURE, "guard", "it has no keeper", "the owner sends setKeeper (`keeper setup`)")
    elif hot_key is not None and guard.keeper != hot_key:
        yield Finding(
            Grade.FAILURE,
            "guard",
            f"its keeper is {guard.keeper} and the hot key here is {hot_key}",
            "the owner sends setKeeper (`keeper setup`), or another keystore is configured",
        )
    else:
        yield Finding(Grade.FINE, "guard", f"its owner is {guard.owner}, its keeper {guard.keeper}")
    for each in disagreements(session.policy, guard, snapshot.subaccounts):
        yield Finding(Grade.WARNING, "policy", str(each))
    known = {subaccount.guard_index for subaccount in snapshot.subaccounts}
    for account in guard.accounts:
        if account.is_live and account.index not in known:
            says = (
                f"its account number {account.index} ({account.protocol.name.lower()} {account.key}) is not in the file"
            )
            fix = f"add it to [[protocols]], or take it out with `keeper setup --retire {account.index}`"
            yield Finding(Grade.WARNING, "guard", says, fix)


def cap_findings(snapshot: Snapshot) -> Iterator[Finding]:
    guard = snapshot.guard
    if guard is None:
        return
    for address, token in _tokens(snapshot).items():
        if address not in guard.remaining_cap_raw:
            continue  # shares of a second vault, which do not move
        left = guard.remaining_cap_raw[address]
        if left:
            yield Finding(
                Grade.FINE, f"cap {token.symbol}", f"{amount_text(left, token)} may still move in this window"
            )
        else:
            yield Finding(
                Grade.FAILURE,
                f"cap {token.symbol}",
                "nothing may move: no cap is set, or it is used up",
                f"`keeper setup --cap {token.symbol}=AMOUNT/1d` sets one; a used one comes back with its window",
            )


def permission_findings(session: Session, snapshot: Snapshot, permissions: Sequence[Permission]) -> Iterator[Finding]:
    """What the guard may do and should not; what it may not do and should is said of the subaccount itself."""
    tokens = _known_tokens(session, snapshot)
    for permission in permissions:
        says = permission_text(permission, tokens)
        is_owners = permission.place.is_permitted_by(session.config.guard.owner)
        if permission.is_left_behind:
            fix = "`keeper setup` takes it back" if is_owners else "its holder should take it back"
            yield Finding(Grade.WARNING, "permission", f"{says}, and no enrolled account needs it", fix)
        elif permission.is_unlimited:
            symbol = tokens[permission.place.contract].symbol if permission.place.contract in tokens else "TOKEN"
            fix = f"`keeper setup --allowance {symbol}=AMOUNT` limits it" if is_owners else "its holder should limit it"
            yield Finding(Grade.WARNING, "permission", says, fix)


@dataclass(frozen=True, slots=True)
class Exposure:
    """What was granted to the guard, what it lets the keeper do, and what a stolen hot key could do with it."""

    permissions: Sequence[Permission]
    lines: Sequence[str]
    document: Document


async def look_at_exposure(session: Session, snapshot: Snapshot) -> Exposure | None:
    """None without a guard: then nothing was granted to it."""
    guard = snapshot.guard
    if guard is None:
        return None
    tokens = _known_tokens(session, snapshot)
    a_tokens = {known: token.address for known, token in session.portfolio.a_tokens().items()}
    asked = questions(guard, tokens, a_tokens)
    underlyings = list(dict.fromkeys(asset for account in guard.accounts for asset in account.assets))
    cap = interface("MarginGuard")["cap"]
    results = await session.reader.aggregate(
        [
            *permission_calls(guard, asked),
            *(Call(guard.address, cap.encode(underlying)) for underlying in underlyings),
        ],
        snapshot.block,
    )
    permissions = decode_permissions(guard, asked, results[: len(asked)], a_tokens)
    caps = {
        underlying: (amount, window)
        for underlying, result in zip(underlyings, results[len(asked) :], strict=True)
        for amount, window in [cap.decode(result.data)]
    }
    sentences, worst = list(limits(snapshot, guard, caps)), worst_cases(snapshot, guard, caps)
    lines = [
        "",
        f"What was granted to the guard {short(guard.address)}:",
        *([f"  {permission_text(permission, tokens)}." for permission in permissions] or ["  nothing."]),
        "",
        "What the guard lets its keeper do with that:",
        *(f"  {sentence}." for sentence in sentences),
        "",
        "The worst that a stolen hot key could do until you send setKeeper: pause, burn its gas money, and move",
        *(f"  {each}" for each in worst),
        f"between these accounts, within these limits{_in_all(worst)}. It can send nothing to anybody else.",
    ]
    return Exposure(permissions, lines, exposure_document(permissions, sentences, worst))


def _in_all(worst: Sequence[Worst]) -> str:
    """The sums, where every token has a price."""
    displaced = [each.usd(each.displaced_raw) for each in worst]
    now = [each.usd(each.now_raw) for each in worst]
    if not worst or None in displaced:
        return ""
    return (
        f": in all {usd_text(sum(usd or 0 for usd in displaced))} in other accounts than now, "
        f"{usd_text(sum(usd or 0 for usd in now))} right now, at today's prices"
    )


def _known_tokens(session: Session, snapshot: Snapshot) -> dict[Address, Token]:
    """Whatever the guard may have been permitted to take: collateral, what is owed, what the wallet lists."""
    return {token.address: token for token in session.portfolio.tokens()} | _tokens(snapshot)


def _tokens(snapshot: Snapshot) -> dict[Address, Token]:
    return {line.token.address: line.token for each in snapshot.subaccounts for line in each.collateral}
