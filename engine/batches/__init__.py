"""Batches of requests: their files on the way to a provider, and what comes of them.

Owns the reading of input files as they are stored, line by line, the files that are made of them
for a provider, and the reading of output files, which become files of the account. What a line says
is `engine.protocols.batches`; that a batch is a job, and is followed, `engine.jobs`.
"""
