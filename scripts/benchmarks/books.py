"""The published set: books made up from a seed and a size, the same on every machine.

Wallets that were hit by a fall of prices, harder or less hard: accounts with one collateral each, in six pairs of
tokens with 6, 8 and 18 decimals, some without debt, some that can move only a part; often a wallet that holds each
token; sometimes caps of the guard and two tiers of priority. In books of several ways every fourth account has a second
collateral, every third is in another protocol, and wallets and accounts often hold what others owe.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from keeper.core.policy import AccountSettings, Pair, Policy, PolicySettings, resolve
from keeper.core.snapshot import Snapshot, Subaccount, Token
from keeper.core.units import Address
from tests.builders import DAI, USDC, WBTC, WETH, WSTETH, a_snapshot, a_subaccount, a_wallet, wad

PAIRS: tuple[tuple[Token, Token, str], ...] = (
    (WETH, USDC, "0.86"),
    (WETH, DAI, "0.77"),
    (WETH, USDC, "0.915"),
    (WBTC, USDC, "0.86"),
    (WBTC, WETH, "0.86"),
    (WSTETH, WETH, "0.945"),
)
IN_WETH: Mapping[Token, float] = {WETH: 1.0, WBTC: 1 / 30, WSTETH: 1 / 1.2, USDC: 2000.0, DAI: 2000.0}
"""How much of a token is worth about one WETH, so that accounts are of like sizes."""


@dataclass(frozen=True, slots=True)
class Instance:
    snapshot: Snapshot
    policy: Policy


def instance(seed: int, size: int, *, has_several_ways: bool = False) -> Instance:
    """A book of `size` subaccounts, the wallet among them."""
    draw = random.Random(f"{seed}/{size}")
    more = random.Random(f"{seed}/{size}/several ways") if has_several_ways else None
    where = random.Random(f"{seed}/{size}/protocols")
    tokens = draw.choice([(WETH,), (WETH, WBTC), (WETH, WBTC, WSTETH)])
    has_wallet = draw.random() < 0.6
    shock = draw.choice([0.2, 0.4, 0.6, 0.8])
    accounts: list[Subaccount] = []
    pairs: list[Pair] = []
    for number in range(size - has_wallet):
        account, lltv = _account(draw, more, str(number), tokens, shock)
        if has_several_ways and where.random() < 1 / 3:
            account = _in_aave(account)
        accounts.append(account)
        pairs.append(Pair(account.id, lltv))
    if has_wallet:
        amounts = {token: _amount(draw, token, 1.0) for token in tokens}
        if more is not None:
            owed: tuple[Token, ...] = more.choice([(), (USDC,), (DAI,), (USDC, DAI)])
            amounts |= {token: _amount(more, token, 1.0) for token in owed}
        accounts.append(a_wallet(collateral=amounts))
        pairs.append(Pair(accounts[-1].id))
    caps = {token: f"{IN_WETH[token] * draw.uniform(5, 60):.6f}" for token in tokens} if draw.random() < 0.2 else None
    if caps is not None and more is not None:
        caps |= {token: f"{IN_WETH[token] * more.uniform(5, 60):.6f}" for token in (USDC, DAI)}
    priorities = {
        str(pair.id): AccountSettings(priority=draw.choice([0, 0, 1])) for pair in pairs if pair.lltv is not None
    }
    settings = PolicySettings(overrides=priorities if draw.random() < 0.5 else {}, min_benefit_multiple=0)
    return Instance(a_snapshot(*accounts, caps=caps), resolve(settings, pairs))


def _account(
    draw: random.Random, more: random.Random | None, key: str, tokens: tuple[Token, ...], shock: float
) -> tuple[Subaccount, int]:
    token, debt, lltv = draw.choice([pair for pair in PAIRS if pair[0] in tokens])
    amounts = {token: _amount(draw, token, 2.0)}
    others = [other for other in (*tokens, USDC) if other not in (token, debt)]
    if more is not None and others and more.random() < 0.25:
        other = more.choice(others)
        amounts[other] = _amount(more, other, 1.0)
    luck = draw.random()
    if luck < shock:
        health = f"{draw.uniform(0.97, 1.16):.4f}"
    elif luck < 0.9:
        health = f"{draw.uniform(1.16, 2.2):.4f}"
    else:
        health = None
    movable = f"{float(amounts[token]) * draw.random():.6f}" if draw.random() < 0.1 else None
    account = a_subaccount(
        key,
        collateral=amounts,
        debt_token=debt,
        health=health,
        lltv=lltv,
        movable=movable,
        penalty_bps=draw.choice([262, 438, 1500]),
    )
    return account, wad(lltv)


def _in_aave(account: Subaccount) -> Subaccount:
    lines = tuple(replace(line, form=Address("aave")) for line in account.collateral)
    return replace(account, id=account.id._replace(protocol="aave"), collateral=lines)


def _amount(draw: random.Random, token: Token, mean: float) -> str:
    return f"{IN_WETH[token] * draw.lognormvariate(mean, 1.0):.6f}"
