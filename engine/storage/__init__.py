"""What is kept for a while beside the ledger, and given back by HTTP.

Owns: generated media under short-lived signed URLs (`media`), the bounds on them, their end.
Owns not: money and receipts (`engine.ledger`), the files they lie in (`engine.spool`), routes.
Nothing here outlives the process: its files have no names, and its signatures a key of its own.
"""
