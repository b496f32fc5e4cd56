"""What was consumed, and what it costs.

Owns: reading usage (`usage.py`), counting tokens from text as it arrives (`tokens.py`), rates and
charges in integers (`pricing.py`), list prices (`price_library.py`).
Does not own: balances, holds and transfers (`ledger`), nor the reading of a provider's bytes
(`protocols`).
"""
