"""Agents of accounts: what is said of them, what they know, what their tools come to.

Owns the JSON of a definition, the rows of agents, the index of their knowledge, the requests of
their tools, and what is made of a client's conversation for them. Who is asked, in how many rounds
and at what price is the exchange's (`engine.rounds`).
"""
