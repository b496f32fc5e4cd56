"""Connections to providers: how they are reached, and HTTP/2 streams that exchanges share.

Owns: provider rows, dialling and TLS, one reader and one writer task a connection, request bodies
under flow control, resets, GOAWAY, pings, the pool.
Owns not: what is said on a stream (protocols), which provider to ask (routing), first-byte and idle
timeouts of an answer (the exchange), money.
"""
