"""`scripts/demo --portfolio`: one wallet over several protocols, its twin that nobody keeps, and a crash.

On Morpho an account that only WETH supplied to Aave can save; on Aave one that only the DAI in the wallet can.
"""
