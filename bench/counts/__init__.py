"""How much work a token and a request are: counted, not timed, on fixed input in one process.

    python -m bench.counts [--write]

For continuous integration, where machines are shared and wall time says little. Calls made by the
engine's code (`sys.setprofile`: Python functions and built-in ones) are the same number in every
run on one version of Python, to a tenth of a per cent; slow code that makes few calls is seen by
CPU time as a multiple of a fixed loop's, coarsely. `baseline.json` holds what they are to be.
Says nothing of latency, memory, or the HTTP server: `parshall bench run` measures those.
"""
