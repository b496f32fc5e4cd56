"""The load generator: what it plans, sends and counts.

A plan (`plan`) is made before anything is sent and never waits for an answer, so that a slow
gateway is charged with its slowness. One process carries it out (`control` from outside, `client`
inside): connections of HTTP/1.1 and HTTP/2 (`pool`, `connection`, `wire`) give what comes to
exchanges, which know when each token is due and count into the tally of a window (`exchange`,
`tally`, `histogram`). What a protocol asks, and by what its tokens are known, is a row in
`protocols`. Knows nothing of how a gateway is started, nor of any report.
"""
