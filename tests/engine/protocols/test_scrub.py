"""What an error says of the operator is taken out, and nothing else."""

from __future__ import annotations

import pytest

from engine.protocols.scrub import is_bad_key, is_out_of_funds, scrub


@pytest.mark.parametrize(
    ("message", "secret"),
    [
        ("Incorrect API key provided: sk-wrong****-key. You can", "wrong"),
        ("key sk-proj-AbC_123-x is revoked", "AbC"),
        ("key sk-ant-api03-AbCdEf012 is revoked", "AbCdEf012"),
        ("key AIzaSyD-0123456789abcdef is expired", "AIza"),
        ("sent `Authorization: Bearer abcdefghijkl012345`", "abcdefghijkl"),
        ("in organization org-0a1B2c3D4e on tokens", "0a1B"),
        ("in organization org-AbCdEfGhIjKlMnOpQrStUvWx on tokens", "AbCd"),
        ("in project proj_AbCdEf012345", "AbCd"),
        ("Publisher Model `projects/my-project-7/locations/us` not found", "my-project"),
        ("for consumer 'project_number:123456789012'", "1234"),
        ("write to the.operator+x@example.co.uk", "operator"),
        ("organization 0a1b2c3d-0000-4111-8222-333344445555 is out", "0a1b2c3d"),
        ("arn:aws:bedrock:eu-west-1:123456789012:model/x denied", "123456789012"),
    ],
)
def test_it_is_taken_out(message: str, secret: str) -> None:
    assert secret in message
    assert secret not in scrub(message)


@pytest.mark.parametrize(
    "message",
    [
        "The model `gpt-4o-mini-2024-07-18` does not exist or you do not have access to it.",
        "No tool output found for tool call call_AbCdEf0123456789.",
        "messages.0.content.1: toolu_01AbCdEf was not answered",
        "Unknown column pk_customers, sk-learn is task-based, org-mode too",
        "Invalid 'tools[0].function.name': 'key_words'",
        "max_tokens: 100000 > 8192, in this project the limit is 8192",
    ],
)
def test_the_clients_own_words_stay(message: str) -> None:
    assert scrub(message) == message


def test_the_operators_account_and_key() -> None:
    assert is_out_of_funds("insufficient_quota", None)
    assert is_out_of_funds(None, "Your credit balance is too low to access the Anthropic API.")
    assert not is_out_of_funds("rate_limit_exceeded", "You exceeded your current quota")
    assert is_bad_key("API key not valid. Please pass a valid API key.")
    assert is_bad_key("Incorrect API key provided: x")
    assert not is_bad_key("The key 'api' is missing in the schema")
