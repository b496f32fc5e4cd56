"""Request bodies on their way from a client's bytes to a provider's.

Owns where that happens: small bodies in this process, large ones in a helper process, which keeps
the event loop free. Does not own what happens: the codecs of `engine.protocols` do.
"""
