"""The local chain: anvil with the real protocols, test tokens and feeds, two wallets with open positions, and a crash.

Nothing here imports the keeper except to write its files, so what is measured on this chain is measured independently.
"""
