"""How far each price moves in a crash, told from the few that a person names.

A token whose symbol ends as a named one does is taken to be built on it, and moves with it unless it is named itself:
`WETH=-30%` is also the fall of ETH, stETH and wstETH. Factors are WAD.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from keeper.core.units import BPS, WAD, Wad

ROOT_LENGTH_MIN = 3
"""A shorter name is the end of too many others."""


@dataclass(frozen=True, slots=True)
class Falls:
    """The whole crash: changes in basis points by symbol, in equal steps."""

    changes_bps: Mapping[str, int]
    steps: int

    def factor(self, symbol: str, step: int) -> Wad:
        """What the price of a token in USD is multiplied by at a step; step 0 is before the crash."""
        return WAD + self._change_bps(symbol) * WAD * step // (BPS * self.steps)

    def relative(self, base: str, quote: str, step: int) -> Wad:
        """The same for the price of one token in another; a currency that nobody named stands still."""
        return self.factor(base, step) * WAD // self.factor(quote, step)

    def changes_at(self, step: int) -> dict[str, int]:
        """Basis points by named symbol."""
        return {symbol: bps * step // self.steps for symbol, bps in self.changes_bps.items()}

    def followers(self, symbols: Iterable[str]) -> dict[str, str]:
        """Which of these symbols move because of another one that was named, and which that is."""
        led = ((symbol, self._leader(symbol)) for symbol in dict.fromkeys(symbols))
        return {symbol: leader for symbol, leader in led if leader is not None and leader != symbol}

    def _change_bps(self, symbol: str) -> int:
        leader = self._leader(symbol)
        return 0 if leader is None else self.changes_bps[leader]

    def _leader(self, symbol: str) -> str | None:
        wanted = symbol.upper()
        for same in (str.upper, root):
            for named in self.changes_bps:
                if same(named) == same(wanted):
                    return named
        return base_of(symbol, self.changes_bps)


def base_of(symbol: str, named: Iterable[str]) -> str | None:
    """Which of these a token is built on, by its symbol: ETH of wstETH; the longest, or None."""
    roots = [one for one in named if len(root(one)) >= ROOT_LENGTH_MIN and symbol.upper().endswith(root(one))]
    return max(roots, key=lambda one: len(root(one)), default=None)


def root(symbol: str) -> str:
    """What a wrapped token wraps: `ETH` of WETH. Feeds are named by it."""
    wanted = symbol.upper()
    return wanted[1:] if wanted.startswith("W") and len(wanted) > ROOT_LENGTH_MIN else wanted
