"""Connections to providers: HTTP/2 that exchanges share, HTTP/1.1 that is kept alive; the pool.

Owns: provider rows, dialling, proxies and TLS, one reader and one writer task a connection, request
bodies under flow control, resets, GOAWAY, pings, who gets which connection and who waits for one.
Owns not: what is said on a stream (protocols), which provider to ask (routing), first-byte and idle
timeouts of an answer (the exchange), money.
"""
