"""What the owner asked `keeper setup` for on the command line, by token symbol or address."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from keeper.core.snapshot import Token
from keeper.core.units import Address
from keeper.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wanted:
    keeper: Address | None
    is_unpaused: bool
    """Whether a pause of the guard is to be ended: the owner may have meant it, so only on request."""
    caps: Mapping[str, tuple[Decimal, int]]
    allowances: Mapping[str, Decimal]
    """`WETH`; of a vault's shares `eWETH` for every sub-account, `euler:3/eWETH` for one."""
    retired: frozenset[int] | None
    """Enrolment numbers of accounts to be taken out for good; None: of all of them."""

    def retires(self, index: int | None) -> bool:
        return index is not None and (self.retired is None or index in self.retired)


def by_token(asked: Mapping[str, T], tokens: Iterable[Token], option: str) -> dict[Address, T]:
    """Raises ConfigError for a symbol or address that is none of the tokens'."""
    known = list(dict.fromkeys(tokens))
    return {named_token(name, known, option).address: value for name, value in asked.items()}


def named_token(name: str, tokens: Iterable[Token], option: str) -> Token:
    """Raises ConfigError for a symbol or address that is none of the tokens', or more than one's."""
    known = list(dict.fromkeys(tokens))
    matching = [token for token in known if name.lower() in (token.symbol.lower(), token.address)]
    if len(matching) != 1:
        there_are = ", ".join(token.symbol for token in known)
        raise ConfigError(f"{option} names {name!r}, which is not one of the wallet's tokens: {there_are}.")
    return matching[0]


def raw_amount(amount: Decimal, token: Token) -> int:
    return int(amount.scaleb(token.decimals))
