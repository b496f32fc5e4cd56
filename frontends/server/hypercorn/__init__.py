"""HTTP by Hypercorn's protocol classes, mended where one connection could harm another.

Owns what is particular to Hypercorn: its connection task, its conversations with the app, and its
HTTP/1.1 and HTTP/2. Accepting, bounding and stopping belong to `frontends.server`.
"""
