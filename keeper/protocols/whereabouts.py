"""Where the protocols are on the chains that people use: what is looked at when nobody names an address."""

from collections.abc import Mapping

from keeper.core.units import Address

MORPHO_USUAL = Address("0xbbbbbbbbbb9cc5e90e3b3af64bdaf62c37eeffcb")
"""Where Morpho Blue is on Ethereum and Base; elsewhere it has to be named."""

AAVE_USUAL: Mapping[int, Address] = {
    1: Address("0x87870bca3f3fd6335c3f4ce8392d69350b4fa4e2"),
    8453: Address("0xa238dd80c259a72e81d7e4664a9801593f98d1c5"),
    42161: Address("0x794a61358d6845594f94dc1db02a252b5b4814ad"),
}
"""The main Aave v3 pool of Ethereum, Base and Arbitrum, by chain id; another one has to be named."""

SEQUENCER_FEEDS: Mapping[int, Address] = {
    10: Address("0x371ead81c9102c9bf4874a9075ffff170f2ee389"),
    1088: Address("0x58218ea7422255ebe94e56b504035a784b7aa204"),
    8453: Address("0xbcf85224fc0756b9fa45aa7892530b47e10b6433"),
    42161: Address("0xfdb631f5ee196f0ed6faa767959853a9f217697d"),
}
"""Chainlink's L2 sequencer uptime feeds of Optimism, Metis, Base and Arbitrum, by chain id, as its documentation lists
them ("L2 Sequencer Uptime Feeds"); of another chain it has to be named."""
VENUS_REGISTRY: Mapping[int, Address] = {
    1: Address("0x61caff113ccaf05ffc6540302c37adcf077c5179"),
    10: Address("0x147780799840d541c1d7c998f0cba996d11d62bb"),
    56: Address("0x9f7b01a536afa00ef10310a162877fd792cd0666"),
    130: Address("0x0c52403e16bcb8007c1e54887e1dfc1ec9765d7c"),
    204: Address("0x345a030ad22e2317ac52811ac41c1a63cfa13aee"),
    324: Address("0xfd96b926298034aed9bbe0cca4b651e41eb87bc4"),
    8453: Address("0xeef902918ddecd773d4b422aa1c6e1673eb9136f"),
    42161: Address("0x382238f07bc4fe4aa99e561ade8a4164b5f815da"),
}
"""Venus's registry of isolated pools on Ethereum, Optimism, BNB Chain, Unichain, opBNB, ZKsync Era, Base and Arbitrum,
by chain id, as isolated-pools 4.4.0 ships them; elsewhere each pool has to be named."""
EVC_USUAL: Mapping[int, Address] = {
    1: Address("0x0c9a3dd6b8f28529d72d7f9ce918d493519ee383"),
    8453: Address("0x5301c7dd20bd945d2013b48ed0dee3a284ca8989"),
    42161: Address("0x6302ef0f34100cddfb5489fbcb6ee1aa95cd1066"),
}
"""Euler's Ethereum Vault Connector on Ethereum, Base and Arbitrum, by chain id; another one has to be named."""
