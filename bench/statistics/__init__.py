"""What samples say, and how sure that is: figures, their intervals, and verdicts on two runs.

Pure functions of `bench.suite.model`'s values and a seed. The unit that varies is the round: all
peers once, neighbours in time, so figures of two peers are compared round by round (`rows`), and
those of two runs as two independent sets of rounds (`verdict`).
"""
