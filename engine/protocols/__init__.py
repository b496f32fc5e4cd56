"""One codec a protocol: how a provider or client writes requests, events, usage and errors.

Owns: reading and writing JSON of each protocol, and the closed list of edits to a verbatim stream.
Does not own: framing (`wire`), counting and prices (`metering`), sockets (`upstream`). A codec is
pure: no I/O, no clock.
"""
