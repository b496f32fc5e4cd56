"""Fine-tuning jobs: their files on the way to whoever trains, and their ends.

Owns what is found out before a job is asked for, and what its end comes to. Words of the protocol
are `engine.protocols.fine_tuning`'s, the hold and the receipt are the exchange's and the job's.
"""
