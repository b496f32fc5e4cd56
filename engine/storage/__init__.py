"""What is kept beside the ledger, and given back by HTTP.

Owns: files of accounts (`files`: in and out; `keeping`: start and sweep; `quota`), where their
bytes are (`blobs`: a folder); generated media under short-lived signed URLs (`media`), which end
with the process; the bounds on both.
Owns not: money, receipts and what is known of files (`engine.ledger`), what bodies wait in
(`engine.spool`), routes.
"""
