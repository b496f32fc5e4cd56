"""Jobs under way: providers are asked how they do, and what comes of it is settled, once.

Owns the jobs that are open, in memory; the ledger has them on disk with the funds that are held for
them. How a provider is spoken to about jobs is `engine.protocols.jobs`; who may ask for a job is
the gateway's business.
"""
