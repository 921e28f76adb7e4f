"""The only code that awaits a node; it carries bytes and decides nothing about margin."""
