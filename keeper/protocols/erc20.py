"""What every adapter asks of a token: its symbol and its decimals."""

from collections.abc import Sequence

from keeper.core.snapshot import Token
from keeper.core.units import Address
from keeper.errors import ProtocolError
from keeper.protocols.abi import interface, printable, short
from keeper.protocols.base import Call, CallResult

TOKEN_CALLS = 2
"""Results that `decode_token` takes."""

DECIMALS_MAX = 18
"""Values are WAD: with more decimals a raw unit would be less than the smallest value, and rounding no longer exact."""

SYMBOL_LENGTH_MAX = 16


def token_calls(token: Address) -> list[Call]:
    """The calls that `decode_token` takes the results of."""
    erc20 = interface("ERC20")
    return [Call(token, erc20["symbol"].encode()), Call(token, erc20["decimals"].encode())]


def decode_token(address: Address, results: Sequence[CallResult]) -> Token:
    """Raises ProtocolError naming a token whose decimals are missing or more than 18."""
    of_symbol, of_decimals = results
    if not of_decimals.success or len(of_decimals.data) != 32:
        raise ProtocolError(f"{address} does not say its decimals; it is not an ERC-20 token that the keeper can use")
    decimals = int.from_bytes(of_decimals.data)
    if decimals > DECIMALS_MAX:
        raise ProtocolError(f"the token {address} has {decimals} decimals; the keeper handles at most {DECIMALS_MAX}")
    return Token(address, _symbol(of_symbol) or short(address), decimals)


def _symbol(result: CallResult) -> str:
    if not result.success:
        return ""
    if len(result.data) == 32:  # the first tokens answer bytes32, MKR for one
        text = result.data.rstrip(b"\0").decode("utf-8", "replace")
    else:
        try:
            text = interface("ERC20")["symbol"].decode(result.data)[0]
        except ProtocolError:
            return ""
    return printable(text.strip(), SYMBOL_LENGTH_MAX)
