"""What an answer says, read by the official SDKs: the same `Reading` whatever the protocol.

Written from the SDKs' types and the protocols' documentation, not from the codecs, so that the
codecs can be held against it.
"""
