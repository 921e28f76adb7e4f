"""The margin keeper: moves a wallet's own collateral between its own margin positions before a fall liquidates one."""
