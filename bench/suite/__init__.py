"""What is measured of a gateway, and how a run of it goes.

Owns the vocabulary of a run (`model`), the scenarios as data, and the records of a run. The load is
made by `bench.load`, the provider is `bench.simulate`, gateways are started by `bench.peers`, noise
is judged by `bench.statistics`, pages are written by `bench.report`.
"""
