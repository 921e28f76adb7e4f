"""Who holds what: the same four accounts twice, once for a wallet that is kept and once for one that is not.

Prices start where the local chain's do: ETH at 2,500 USD, BTC at 60,000. The two accounts that will need help have one
place each to get it from: what WETH there is besides lies on Aave; there is no other WBTC, and the second address never
let the guard switch on new collateral, so all that can be done for it is to repay.
"""

from dataclasses import dataclass

from scripts.localchain.world import Person

OWNER = Person(
    "owner of a portfolio",
    "0x976EA74026E726554dB657fA54763abd0C3a0aa9",
    "0x92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e",
)
SECOND = Person(
    "the owner's second address",
    "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955",
    "0x4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356",
)
TWIN = Person(
    "owner of the same portfolio, unprotected",
    "0x23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f",
    "0xdbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97",
)
TWIN_SECOND = Person(
    "that owner's second address",
    "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720",
    "0x2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6",
)


@dataclass(frozen=True, slots=True)
class Wallet:
    """A portfolio's two addresses."""

    name: str
    owner: Person
    second: Person


PROTECTED = Wallet("protected", OWNER, SECOND)
UNPROTECTED = Wallet("unprotected", TWIN, TWIN_SECOND)
WALLETS = (PROTECTED, UNPROTECTED)

MORPHO, OWN, OTHER, IDLE = "Morpho WETH/USDC", "Aave WETH/USDC", "Aave WBTC/DAI", "wallet"
"""The accounts, as the demo calls them."""

MORPHO_MARKET = "WETH/USDC 86%"
MORPHO_COLLATERAL_RAW, MORPHO_DEBT_RAW = 20 * 10**18, 35_250 * 10**6  # health 1.22
OWN_SUPPLIES, OWN_BORROWS = {"WETH": 16 * 10**18}, {"USDC": 5_000 * 10**6}  # 6.64: can give although it owes
OTHER_SUPPLIES, OTHER_BORROWS = {"WBTC": 10**8}, {"DAI": 40_000 * 10**18}  # 1.17
IDLE_RAW = {"DAI": 16_000 * 10**18}
"""In the wallet, and allowed to the guard to the unit."""

CAPS_RAW = {"WETH": 30 * 10**18, "WBTC": 10**8, "DAI": 20_000 * 10**18}
"""What may move in any day, by token."""
