"""One verb of the command line a file: reads the chain, lets the core decide, and says what came of it."""
