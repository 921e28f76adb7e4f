"""The long way of testing the guard: a campaign of more than a million calls, and symbolic proofs with halmos."""
