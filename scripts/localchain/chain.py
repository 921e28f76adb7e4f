"""A running local chain as tests and commands see it: prices by symbol, time, blocks, and who is who."""

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from scripts.localchain import deploy, world
from scripts.localchain.deploy import Deployment
from scripts.localchain.node import Node, Receipt
from scripts.localchain.observe import Observation, observe
from scripts.localchain.world import OWNER, UNPROTECTED, Person


class WishError(Exception):
    """A price or duration that cannot be understood."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Raises NodeError where the chain refuses and WishError where the wish makes no sense."""

    node: Node
    deployment: Deployment

    # Prices -----------------------------------------------------------------------------------------------------------

    def price(self, symbol: str) -> int:
        """The feed's answer in its own decimals; `symbol` is a token or a feed name."""
        return deploy.read_price(self.node, self.deployment, _feed(symbol).name)

    def set_price(self, symbol: str, price: str | int | Decimal) -> int:
        """Sets a price: `2500`, `"2500.5"`, or relative to the latest, `"-12%"`. Returns the new answer.

        wstETH is priced in ETH, everything else in USD.
        """
        spec = _feed(symbol)
        answer = new_answer(str(price), self.price(symbol), spec.decimals)
        deploy.write_price(self.node, self.deployment, spec.name, answer)
        return answer

    def set_round(self, symbol: str, answer: int, updated_at: int) -> None:
        """A round as it should not be: an answer of nonsense, or one from another time."""
        self.send(
            world.DEPLOYER, self.deployment.feeds[_feed(symbol).name], "setRound(int256,uint256)", answer, updated_at
        )

    def refresh_prices(self) -> None:
        """New rounds with the old answers: fresh after time was warped."""
        deploy.refresh_prices(self.node, self.deployment)

    # Time -------------------------------------------------------------------------------------------------------------

    def mine(self, blocks: int = 1) -> None:
        self.node.mine(blocks)

    def warp(self, seconds: int) -> None:
        self.node.warp(seconds)

    # State and transactions -------------------------------------------------------------------------------------------

    def observe(self, block: int | str = "latest") -> Observation:
        return observe(
            self.node, self.deployment, [OWNER.address, UNPROTECTED.address], block, others=[self.deployment.guard]
        )

    def send(self, sender: Person | str, to: str, signature: str, *arguments: object, value_wei: int = 0) -> Receipt:
        """A transaction of one of anvil's accounts, mined: `send(OWNER, guard, "unpause()")`."""
        address = sender.address if isinstance(sender, Person) else sender
        return self.node.transact(address, to, deploy.encode_call(signature, *arguments), value_wei=value_wei)


def _feed(symbol: str) -> world.FeedSpec:
    try:
        return world.feed_for(symbol)
    except KeyError as unknown:
        raise WishError(str(unknown.args[0])) from None


def new_answer(wish: str, latest: int, decimals: int) -> int:
    """`2500`, `2500.5` or `-12%` as a feed's answer, rounded down; raises WishError."""
    text = wish.strip()
    try:
        number = Decimal(text.removesuffix("%").replace("_", ""))
        if not number.is_finite():
            raise InvalidOperation
        answer = int(latest * (100 + number) / 100 if text.endswith("%") else number.scaleb(decimals))
    except InvalidOperation:
        raise WishError(f"{wish} is not a price; say 2500, 2500.5, -12% or +3%") from None
    if answer <= 0:
        raise WishError(f"{wish} would make the price zero or less")
    return answer


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> int:
    """`90s`, `15m`, `1h`, `2d` or plain seconds; raises WishError."""
    match = re.fullmatch(r"(\d+)([smhd]?)", text.strip())
    if match is None or int(match[1]) == 0:
        raise WishError(f"{text} is not a duration; say 90s, 15m, 1h or 2d")
    return int(match[1]) * _UNITS[match[2] or "s"]
