"""What the model's contracts answer, as real ABI bytes: Multicall3 and everything that the keeper asks through it."""

from collections.abc import Callable
from functools import lru_cache

from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak

from keeper.core.snapshot import GuardProtocol
from keeper.core.units import Address
from keeper.protocols.abi import ZERO_ADDRESS, interface
from keeper.protocols.guard_setup import guard_address
from keeper.protocols.multicall import MULTICALL3
from scripts.simulation.guard import Enrolled
from scripts.simulation.ledger import FEED_DECIMALS, USDC, WETH, Market, State

OWNER = Address("0x" + "a11ce".rjust(40, "0"))
MORPHO, ORACLE, IRM = ("0x" + each.rjust(40, "0") for each in ("b1", "0a", "1a"))
ETH_FEED, USDC_FEED = ("0x" + each.rjust(40, "0") for each in ("f1", "f2"))
GUARD = guard_address(OWNER)
OWNERS_ETHER = 3 * 10**18


def market_id(lltv: int) -> str:
    """MarketParamsLib.id."""
    words = encode(["address"] * 4 + ["uint256"], [USDC, WETH, ORACLE, IRM, lltv])
    return f"0x{keccak(words).hex()}"


def a_market(lltv: int, rate: int) -> Market:
    return Market(market_id(lltv), lltv, rate)


Answer = tuple[bool, bytes]
_SILENCE: Answer = (True, b"")
"""What an address without code answers."""


class Contracts:
    """All of them, at any state."""

    def __init__(self, guard: Enrolled) -> None:
        self.guard = guard
        self._markets = {bytes.fromhex(market.id[2:]): market for market in guard.markets}
        self._by_lltv = {market.lltv: market for market in guard.markets}
        self._fixed: dict[tuple[str, bytes], Answer] = {}
        self._of_state: dict[tuple[str, bytes], Callable[[State], bytes]] = {}
        self._tokens()
        self._feeds()
        self._morpho()
        self._own_guard()

    def aggregate(self, calldata: str, state: State) -> bytes:
        """Multicall3.aggregate3; interest that is accrued in it is for the calls after it."""
        accrued: set[str] = set()
        results = [self._call(to, data, state, accrued) for to, data in calls_in(calldata)]
        bodies = [
            (b"\x01" if ok else b"\0").rjust(32, b"\0")
            + (64).to_bytes(32)
            + len(data).to_bytes(32)
            + data
            + bytes(-len(data) % 32)
            for ok, data in results
        ]
        offsets, at = list[bytes](), 32 * len(bodies)
        for body in bodies:
            offsets.append(at.to_bytes(32))
            at += len(body)
        return b"".join(((32).to_bytes(32), len(bodies).to_bytes(32), *offsets, *bodies))

    def _call(self, to: str, data: bytes, state: State, accrued: set[str]) -> Answer:
        selector = data[:4]
        if to == MORPHO and selector == _ACCRUE:
            accrued.add(self._by_lltv[int.from_bytes(data[132:164])].id)
            return _SILENCE
        if to == MORPHO and selector == _MARKET:
            return True, self._market(data[4:36], state, accrued)
        fixed = self._fixed.get((to, data))
        if fixed is not None:
            return fixed
        of_state = self._of_state.get((to, data))
        if of_state is None:
            return _SILENCE
        is_price = to in (ORACLE, ETH_FEED)
        return (False, b"") if is_price and state.is_oracle_mute else (True, of_state(state))

    def _market(self, id: bytes, state: State, accrued: set[str]) -> bytes:
        market = self._markets[id]
        totals = state.accrued(market) if market.id in accrued else state.totals[market.id]
        return _words(
            2 * totals.borrow_assets, 10**18, totals.borrow_assets, totals.borrow_shares, totals.updated_at, 0
        )

    # Each contract ----------------------------------------------------------------------------------------------------

    def _tokens(self) -> None:
        erc20, multicall = interface("ERC20"), interface("Multicall3")
        for token, symbol, decimals in ((WETH, "WETH", 18), (USDC, "USDC", 6)):
            self._fix(token, erc20["symbol"].encode(), encode(["string"], [symbol]))
            self._fix(token, erc20["decimals"].encode(), _words(decimals))
            self._tell(
                token, erc20["balanceOf"].encode(OWNER), lambda state, token=token: _words(state.balances[token])
            )
            allowance = erc20["allowance"].encode(OWNER, GUARD)
            self._tell(token, allowance, lambda state, token=token: _words(state.allowances[token]))
        self._tell(MULTICALL3, multicall["getCurrentBlockTimestamp"].encode(), lambda state: _words(state.now))
        self._fix(MULTICALL3, multicall["getEthBalance"].encode(OWNER), _words(OWNERS_ETHER))
        keepers = multicall["getEthBalance"].encode(self.guard.keeper)
        self._tell(MULTICALL3, keepers, lambda state: _words(state.gas_money))

    def _feeds(self) -> None:
        feed, oracle = interface("Aggregator"), interface("MorphoOracle")
        for place, name in ((ETH_FEED, "ETH / USD"), (USDC_FEED, "USDC / USD")):
            self._fix(place, feed["decimals"].encode(), _words(FEED_DECIMALS))
            self._fix(place, feed["description"].encode(), encode(["string"], [name]))
        latest = feed["latestRoundData"].encode()
        self._tell(ETH_FEED, latest, lambda state: _round(state.eth.number, state.eth.answer, state.eth.updated_at))
        self._tell(USDC_FEED, latest, lambda state: _round(state.usdc.number, state.usdc.answer, state.usdc.updated_at))
        for name, aggregator in (
            ("BASE_FEED_1", ETH_FEED),
            ("BASE_FEED_2", ZERO_ADDRESS),
            ("QUOTE_FEED_1", USDC_FEED),
            ("QUOTE_FEED_2", ZERO_ADDRESS),
        ):
            self._fix(ORACLE, oracle[name].encode(), _words(int(aggregator, 16)))
        self._tell(ORACLE, oracle["price"].encode(), lambda state: _words(state.price))

    def _morpho(self) -> None:
        morpho = interface("Morpho")
        self._fix(MORPHO, morpho["isAuthorized"].encode(OWNER, GUARD), _words(1))
        for id, market in self._markets.items():
            params = encode(["address"] * 4 + ["uint256"], [USDC, WETH, ORACLE, IRM, market.lltv])
            self._fix(MORPHO, morpho["idToMarketParams"].encode(id), params)
            self._tell(
                MORPHO,
                morpho["position"].encode(id, OWNER),
                lambda state, key=market.id: _words(
                    0, state.positions[key].borrow_shares, state.positions[key].collateral
                ),
            )

    def _own_guard(self) -> None:
        guard = interface("MarginGuard")
        self._fix(GUARD, guard["owner"].encode(), _words(int(OWNER, 16)))
        self._fix(GUARD, guard["keeper"].encode(), _words(int(self.guard.keeper, 16)))
        self._tell(GUARD, guard["paused"].encode(), lambda state: _words(int(state.is_paused)))
        self._tell(GUARD, guard["lastSequence"].encode(), lambda state: _words(state.last_sequence))
        self._fix(GUARD, guard["accounts"].encode(), encode(guard["accounts"].outputs, [self._enrolments()]))
        for token in (WETH, USDC):
            self._tell(
                GUARD,
                guard["remainingCap"].encode(token),
                lambda state, token=token: _words(state.caps[token].remaining(state.now)),
            )

    def _enrolments(self) -> list[tuple[object, ...]]:
        limits = self.guard.limits
        numbers = (limits.rescue_ceiling, limits.min_after, limits.max_after, limits.hard_floor)
        assets = [(WETH, WETH, ZERO_ADDRESS), (USDC, USDC, ZERO_ADDRESS)]
        wallet = (int(GuardProtocol.WALLET), False, True, OWNER, ZERO_ADDRESS, bytes(32), assets, (0, 0, 0, 0))
        held = [(WETH, MORPHO, ZERO_ADDRESS), (USDC, ZERO_ADDRESS, MORPHO)]
        return [
            wallet,
            *((int(GuardProtocol.MORPHO), False, True, OWNER, MORPHO, id, held, numbers) for id in self._markets),
        ]

    def _fix(self, to: str, data: bytes, answer: bytes) -> None:
        self._fixed[to, data] = (True, answer)

    def _tell(self, to: str, data: bytes, answer: Callable[[State], bytes]) -> None:
        self._of_state[to, data] = answer


_ACCRUE = interface("Morpho")["accrueInterest"].selector
_MARKET = interface("Morpho")["market"].selector


@lru_cache(maxsize=16)
def calls_in(calldata: str) -> tuple[tuple[str, bytes], ...]:
    """The targets and data in the calldata of `aggregate3`."""
    (calls,) = decode(["(address,bool,bytes)[]"], bytes.fromhex(calldata[10:]))
    return tuple((to, data) for to, _, data in calls)


def _words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(32) for number in numbers)


def _round(number: int, answer: int, updated_at: int) -> bytes:
    return _words(number, answer, updated_at, updated_at, number)
