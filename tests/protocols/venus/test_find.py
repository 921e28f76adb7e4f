"""What accounts have in pools of Venus, by the pools' own lists, on answers that are written out."""

import pytest
from eth_abi.abi import encode

from keeper.errors import ProtocolError
from keeper.protocols.abi import interface
from keeper.protocols.base import CallResult
from keeper.protocols.venus.find import PoolUse, Use, pools, uses
from tests.protocols.fakes import OWNER, USDC, WBTC, WETH, FakeChain, address
from tests.protocols.venus.fakes import COMPTROLLER, MARKETS, OF_MARKET, OF_POOL, a_venus_chain, nonsense

OTHER, REGISTRY = address(0x0F), address(0xC9)
UNDERLYINGS = {MARKETS[asset]: asset for asset in (WETH, USDC, WBTC)}


def test_vtokens_are_found_whether_or_not_their_market_was_entered_and_debts_with_them() -> None:
    use, rounds = a_venus_chain().run(uses(COMPTROLLER, (OWNER,)))
    assert use == PoolUse(COMPTROLLER, UNDERLYINGS, (Use(OWNER, (MARKETS[WETH], MARKETS[WBTC]), (MARKETS[USDC],)),))
    assert rounds == 2


def test_several_accounts_are_asked_for_at_once() -> None:
    chain = a_venus_chain()
    for asset, tokens in ((WETH, 0), (USDC, 7), (WBTC, 0)):
        chain.answer(MARKETS[asset], OF_MARKET["getAccountSnapshot"], OTHER, returns=[0, tokens, 0, 0])
    use, rounds = chain.run(uses(COMPTROLLER, (OTHER, OWNER)))
    assert rounds == 2
    assert [each.supplied for each in use.accounts] == [(MARKETS[USDC],), (MARKETS[WETH], MARKETS[WBTC])]


def test_who_has_nothing_is_told_from_who_has() -> None:
    chain = a_venus_chain()
    for asset in (WETH, USDC, WBTC):
        chain.answer(MARKETS[asset], OF_MARKET["getAccountSnapshot"], OTHER, returns=[0, 0, 0, 10**28])
    use, _ = chain.run(uses(COMPTROLLER, (OTHER, OWNER)))
    assert [each.is_any for each in use.accounts] == [False, True]


def test_a_market_that_does_not_answer_is_passed_over() -> None:
    chain = a_venus_chain()
    nonsense(WBTC, "underlying", chain)
    chain.answer_raw(MARKETS[WETH], OF_MARKET["getAccountSnapshot"].encode(OWNER), CallResult(True, bytes(32)))
    use, _ = chain.run(uses(COMPTROLLER, (OWNER,)))
    assert use.underlyings == {MARKETS[WETH]: WETH, MARKETS[USDC]: USDC}
    assert use.accounts == (Use(OWNER, (), (MARKETS[USDC],)),)


def test_what_is_no_pool_is_refused() -> None:
    with pytest.raises(ProtocolError, match=f"{COMPTROLLER} is not the comptroller of a Venus pool; correct its"):
        FakeChain().run(uses(COMPTROLLER, (OWNER,)))
    chain = a_venus_chain()
    chain.revert(COMPTROLLER, OF_POOL["getAllMarkets"])
    with pytest.raises(ProtocolError, match="is not the comptroller of a Venus pool"):
        chain.run(uses(COMPTROLLER, (OWNER,)))


def test_a_registry_lists_the_pools_of_a_chain() -> None:
    chain = FakeChain()
    get_all = interface("VenusPoolRegistry")["getAllPools"]
    listed = [("Core", address(1), COMPTROLLER, 1, 2), ("Liquid Staked ETH", address(1), address(0xCA), 3, 4)]
    chain.answer_raw(REGISTRY, get_all.encode(), CallResult(True, encode(get_all.outputs, [listed])))
    assert chain.run(pools(REGISTRY)) == ((COMPTROLLER, address(0xCA)), 1)


def test_what_is_no_registry_is_refused() -> None:
    with pytest.raises(ProtocolError, match=f"{REGISTRY} is not Venus's registry of pools: it lists none"):
        FakeChain().run(pools(REGISTRY))
