"""What only OpenAI has is passed through: assistants, threads, vector stores, batches and the like.

Owns the table of those routes, how ids are found in paths, queries, bodies and answers, and the
forwarding of whatever costs nothing. Does not own: who an id belongs to (`engine.owning`), routes
that are billed (exchanges, see `Route.operation`), or HTTP (`frontends.passing`).
"""
