"""The whole keeper in virtual time, against a model of the chain that can be as bad as the worst day."""
