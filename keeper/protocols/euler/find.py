"""Finding the owner's sub-accounts in one EVC, and the vaults that they use.

The EVC is asked for all 256 of them: whoever borrows has a controller, whoever enabled collateral is in its list, and
shares that are neither are found in the vaults that the owner names.
"""

from collections.abc import Generator, Iterable, Sequence

from keeper.core.snapshot import Token
from keeper.core.units import BPS, WAD, Address
from keeper.errors import ProtocolError
from keeper.protocols.abi import ZERO_ADDRESS, interface, is_currency, word_address
from keeper.protocols.base import Call, CallResult, Discovery
from keeper.protocols.erc20 import TOKEN_CALLS, decode_token, token_calls
from keeper.protocols.euler.math import SUB_ACCOUNTS, Ltv, account, penalty_bps
from keeper.protocols.euler.routes import find_routes
from keeper.protocols.euler.topology import NAME, Position, Topology, Vault, address_in, addresses_in, word

CALLS_PER_ROUND_MAX = 2_048
"""A share balance costs about 10k gas, and nodes cap a call at 50M."""

CURRENCIES = {840: "USD", 978: "EUR"}
"""Units of account that are no tokens, by ISO 4217. EPO BaseAdapter counts them with 18 decimals."""


def find(evc: Address, owner: Address, vaults: Sequence[Address]) -> Discovery[Topology]:
    """The vaults named and those that the owner's sub-accounts use, in at most seven rounds and one more for each
    eight vaults named.

    Raises ProtocolError naming a vault that cannot be used, or an address that is not the EVC.
    """
    named = list(dict.fromkeys(vaults))
    accounts = [account(owner, number) for number in range(SUB_ACCOUNTS)]
    of_evc = interface("EVC")
    listing = [Call(evc, of_evc[name].encode(one)) for name in ("getCollaterals", "getControllers") for one in accounts]
    results = yield listing
    lists = [addresses_in(result) for result in results]
    if None in lists:
        raise ProtocolError(f"{evc} is not the Ethereum Vault Connector: it lists no collaterals; correct its address")
    collaterals = [found or () for found in lists[:SUB_ACCOUNTS]]
    controllers = [found or () for found in lists[SUB_ACCOUNTS:]]

    used = list(dict.fromkeys([*named, *_flat(collaterals), *_flat(controllers)]))
    balance_of = interface("EulerVault")["balanceOf"]
    balances = yield from _in_rounds([Call(vault, balance_of.encode(one)) for vault in named for one in accounts])
    held = {
        (number, vault)
        for place, vault in enumerate(named)
        for number in range(SUB_ACCOUNTS)
        if word(balances[SUB_ACCOUNTS * place + number])
    }
    found = yield from _describe(evc, used)
    by_address = {vault.address: vault for vault in found}
    routes, ltvs = yield from find_routes(found)
    positions = tuple(
        _position(number, accounts[number], mine, controlled, by_address, ltvs)
        for number in range(SUB_ACCOUNTS)
        for mine, controlled in [
            (
                dict.fromkeys([*collaterals[number], *(vault for vault in used if (number, vault) in held)]),
                controllers[number],
            )
        ]
        if mine or controlled
    )
    return Topology(found, routes, positions)


def _flat(lists: Iterable[Sequence[Address]]) -> list[Address]:
    return [one for some in lists for one in some]


def _in_rounds(calls: Sequence[Call]) -> Generator[Sequence[Call], Sequence[CallResult], list[CallResult]]:
    results: list[CallResult] = []
    for start in range(0, len(calls), CALLS_PER_ROUND_MAX):
        results += yield calls[start : start + CALLS_PER_ROUND_MAX]
    return results


def _position(
    number: int,
    account: Address,
    vaults: Iterable[Address],
    controllers: Sequence[Address],
    by_address: dict[Address, Vault],
    ltvs: dict[tuple[Address, Address], Ltv],
) -> Position:
    controller = by_address[controllers[0]] if controllers else None
    mine = [by_address[vault] for vault in vaults]
    counted = [vault for vault in mine if controller and (controller.address, vault.address) in ltvs]
    symbols = "+".join(dict.fromkeys(vault.asset.symbol for vault in counted or mine))
    debt = controller.asset.symbol if controller else ""
    targets = [ltvs[controller.address, vault.address].liquidation_target for vault in counted] if controller else []
    return Position(
        number,
        account,
        f"{NAME} {number} {symbols}{'/' if debt else ''}{debt}",
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


def _describe(evc: Address, vaults: Sequence[Address]) -> Discovery[tuple[Vault, ...]]:
    """Two rounds: what each vault says of itself, and the tokens that it names."""
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
