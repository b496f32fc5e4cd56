"""Who may ask, and how much.

Owns: API keys (their secrets, digests and the in-memory index), plans, limits a minute and at once,
the net by address, and what operators have switched off.
Does not own: balances (`ledger`, which also stores the digests), prices, or the reading of HTTP.
Nothing here touches a database: admission is on the hot path.
"""
