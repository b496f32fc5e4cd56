"""The load generator: what it plans, sends and counts.

Owns histograms. A plan is made before anything is sent and never waits for an answer, so that a
slow gateway is charged with its slowness. Knows nothing of who is measured, nor of any report.
"""
