"""Load and fault tools that stand outside the gateway.

Owns the simulated provider (`bench.simulate`) and what measures the gateway against it.
Uses the engine's wire code, for HTTP/2, and nothing of its policies, prices or money.
Does not own test assertions, nor anything a running gateway needs.
The frontends may import it, for `parshall simulate` and the demo; the engine never does.
"""
