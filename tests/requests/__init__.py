"""Requests read, translated and compared: what the tests of request translation share."""
