"""Gemini's protocol, against the official SDK and recorded traffic."""
