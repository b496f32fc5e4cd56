"""Anthropic's protocol, against the official SDK and recorded traffic."""
