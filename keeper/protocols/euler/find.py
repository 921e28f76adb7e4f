"""Finding the owner's sub-accounts in one EVC, and what the vaults that they use say of themselves."""

from collections.abc import Sequence

from keeper.core.snapshot import Token
from keeper.core.units import BPS, WAD, Address
from keeper.errors import ProtocolError
from keeper.protocols.abi import ZERO_ADDRESS, interface, is_currency, word_address
from keeper.protocols.base import Call, CallResult, Discovery
from keeper.protocols.erc20 import TOKEN_CALLS, decode_token, token_calls
from keeper.protocols.euler.held import SubAccount, sub_accounts
from keeper.protocols.euler.math import Ltv, penalty_bps
from keeper.protocols.euler.routes import find_routes
from keeper.protocols.euler.topology import NAME, Position, Topology, Vault, address_in, addresses_in, word

CURRENCIES = {840: "USD", 978: "EUR"}
"""Units of account that are no tokens, by ISO 4217. EPO BaseAdapter counts them with 18 decimals."""


def find(evc: Address, owner: Address, vaults: Sequence[Address]) -> Discovery[Topology]:
    """The vaults named and those that the owner's sub-accounts use, in at most seven rounds and one more for each
    eight vaults named.

    Raises ProtocolError naming a vault that cannot be used, or an address that is not the EVC.
    """
    named = list(dict.fromkeys(vaults))
    existing = yield from sub_accounts(evc, owner, named)
    listed = [vault for one in existing for vault in (*one.collaterals, *one.controllers)]
    found = yield from describe(evc, list(dict.fromkeys([*named, *listed])))
    by_address = {vault.address: vault for vault in found}
    routes, ltvs = yield from find_routes(found)
    return Topology(found, routes, tuple(_position(one, by_address, ltvs) for one in existing))


def _position(sub: SubAccount, by_address: dict[Address, Vault], ltvs: dict[tuple[Address, Address], Ltv]) -> Position:
    controller = by_address[sub.controllers[0]] if sub.controllers else None
    mine = [by_address[vault] for vault in sub.vaults]
    counted = [vault for vault in mine if controller and (controller.address, vault.address) in ltvs]
    symbols = "+".join(dict.fromkeys(vault.asset.symbol for vault in counted or mine))
    debt = controller.asset.symbol if controller else ""
    targets = [ltvs[controller.address, vault.address].liquidation_target for vault in counted] if controller else []
    return Position(
        sub.number,
        sub.account,
        f"{NAME} {sub.number} {symbols}{'/' if debt else ''}{debt}",
        controller.address if controller else None,
        min(targets) * WAD // BPS if targets else None,
        symbols,
        debt,
    )


_FACTS = (
    "EVC",
    "asset",
    "unitOfAccount",
    "oracle",
    "maxLiquidationDiscount",
    "liquidationCoolOffTime",
    "LTVList",
)


def describe(evc: Address, vaults: Sequence[Address]) -> Discovery[tuple[Vault, ...]]:
    """Two rounds: what each vault says of itself, and the tokens that it names. Raises ProtocolError as `find` does."""
    of_vault = interface("EulerVault")
    facts = [of_vault[name].encode() for name in _FACTS]
    results = yield [Call(vault, fact) for vault in vaults for fact in facts]
    said = [results[len(facts) * place : len(facts) * (place + 1)] for place in range(len(vaults))]
    for vault, answers in zip(vaults, said, strict=True):
        for name, answer in zip(_FACTS, answers, strict=True):
            if (addresses_in(answer) if name == "LTVList" else word(answer)) is None:
                raise ProtocolError(f"{vault} is not an Euler vault: it knows no {name}; correct or remove it")
        if address_in(answers[0]) != evc:
            raise ProtocolError(f"the vault {vault} belongs to another EVC than {evc}; correct one of them")
    assets = [word_address(answers[1].data) for answers in said]
    units = [word_address(answers[2].data) for answers in said]
    wanted = dict.fromkeys([*vaults, *assets, *(unit for unit in units if not is_currency(unit))])
    results = yield [call for token in wanted for call in token_calls(token)]
    tokens = {
        token: decode_token(token, results[TOKEN_CALLS * place : TOKEN_CALLS * (place + 1)])
        for place, token in enumerate(wanted)
    }
    return tuple(
        Vault(
            vault,
            tokens[vault],
            tokens[asset],
            word_address(answers[3].data),
            None if unit == ZERO_ADDRESS else tokens.get(unit) or _currency(unit),
            penalty_bps(_discount(vault, answers[4])),
            int.from_bytes(answers[5].data),
            addresses_in(answers[6]) or (),
        )
        for vault, asset, unit, answers in zip(vaults, assets, units, said, strict=True)
    )


def _discount(vault: Address, result: CallResult) -> int:
    discount = int.from_bytes(result.data)
    if discount >= BPS:
        raise ProtocolError(f"the vault {vault} says that a liquidator's discount is {discount} basis points")
    return discount


def _currency(unit: Address) -> Token:
    code = int(unit, 16)
    return Token(unit, CURRENCIES.get(code, f"ISO {code}"), 18)
