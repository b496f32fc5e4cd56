"""What the page says in words."""

from __future__ import annotations

from typing import Final

READING: Final = (
    "The value, its ratio (×) at an equal load to the gateway that stands first, and below it the "
    "interval that holds it with 95 % probability. A gateway that cannot take the whole load was "
    "measured at the load named in its cell, and so was the one it is compared with. Where there "
    "is no figure, the reason stands in its place."
)
GUARDS: Final = (
    "The benchmark watches itself. These are the worst values of the samples that count, over all "
    "peers. A sample is refused, and shown as refused, when the load generator or the simulated "
    "provider was near its limit, when the host took CPU away, or when other programs ran. One "
    "that the benchmark was late in counts for CPU, memory and bills, and for nothing "
    "that is a time."
)
METHOD: Final = (
    (
        "Requests are planned before the run from a seed, and sent when they are due, whatever "
        "the gateway does: a gateway that stops for a second is charged with the wait of all that "
        "was due in it. Every time is counted from when the request or the token was due. The "
        "provider is simulated on the same machine and writes each token at its planned moment; "
        "“direct” is that provider without a gateway, and what is “added” is a quantile minus the "
        "same quantile of direct, in the same round under the same plan."
    ),
    (
        "A round measures all peers one after another in changing order, so that what the machine "
        "does in these minutes falls on all of them. Intervals are bootstrapped over rounds; "
        "ratios compare two peers round by round, and from CPU time the speed that the machine had "
        "in a round is taken out, as the other peers tell it. CPU is that of the whole process "
        "tree, memory its proportional set size. Distributions join all rounds that were not "
        "refused; counts are kept in buckets of one per cent. Their upper part is drawn wide, so "
        "that 90 %, 99 % and 99.9 % can be read."
    ),
    (
        "What it does not say: nothing here went over a real network or to a real model; figures "
        "of one machine are not those of another, but ratios come near. Gateways do different "
        "work: some bill, log or translate where others only pass bytes on. The notes above say "
        "which."
    ),
)
