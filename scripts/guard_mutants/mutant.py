"""What a mutant is, and the files that they are of."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Mutant:
    """One weakening of the guard, and the property (P1 to P9; S: the owner's settings) that it would break."""

    property: str
    what: str
    file: str
    find: str
    replace: str = ""
    safety: str = ""


GUARD: Final = "src/MarginGuard.sol"
ACCOUNTS: Final = "src/Accounts.sol"
CAP: Final = "src/RollingCap.sol"
TOKEN: Final = "src/Token.sol"
MORPHO: Final = "src/protocols/MorphoBlue.sol"
WALLET: Final = "src/protocols/Wallet.sol"
AAVE: Final = "src/protocols/AaveV3.sol"
EULER: Final = "src/protocols/EulerV2.sol"
VENUS: Final = "src/protocols/VenusPools.sol"
SHARES: Final = "src/Shares.sol"

NOBODY_ASKED: Final = "external onlyOwner"
"""The modifier goes with the function's own line, which is what makes `find` unique."""


def for_anybody(file: str, signature: str) -> Mutant:
    """A function of the owner's that asks nobody who calls."""
    name = signature.split("(", maxsplit=1)[0].removeprefix("function ")
    find = f"{signature} {NOBODY_ASKED}"
    return Mutant("P6", f"{name}: anybody may", file, find, f"{signature} external")
