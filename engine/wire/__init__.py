"""Bytes and protocol rules, sans-I/O: server-sent events, HTTP/1.1, HTTP/2.

Owns: framing, connection and stream states, flow-control windows, bounds on what a peer may send;
both roles of HTTP/2, so that the simulated provider and the tests speak what the gateway speaks.
Owns not: sockets, tasks, time (a clock is passed in), providers, LLM protocols.
Imports nothing else of this project.
"""
