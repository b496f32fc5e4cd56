"""Signatures are proof of origin: of this seed, of this content, of this kind."""

from __future__ import annotations

import pytest

from bench.simulate.signatures import CALL, THINKING, Signer, call_content


def test_own_signatures_are_known() -> None:
    signer = Signer(b"seed")
    signature = signer.sign(b"nonce", THINKING, b"text")
    assert Signer(b"seed").verify(signature, THINKING, b"text")
    assert not signer.verify(signature, THINKING, b"text!")
    assert not signer.verify(signature, CALL, b"text")
    assert not Signer(b"other").verify(signature, THINKING, b"text")
    assert signature != signer.sign(b"other", THINKING, b"text")


def test_the_url_safe_alphabet_is_as_good() -> None:
    signer = Signer(b"seed")
    signatures = [signer.sign(bytes([n]), CALL, b"x") for n in range(64)]
    assert any("/" in signature and "+" in signature for signature in signatures)
    for signature in signatures:
        other = signature.replace("+", "-").replace("/", "_").rstrip("=")
        assert signer.verify(other, CALL, b"x")


@pytest.mark.parametrize(
    "signature", ["", "?", "AAAA", "é", "A", "skip_thought_signature_validator"]
)
def test_what_is_no_signature(signature: str) -> None:
    assert not Signer(b"seed").verify(signature, CALL, b"")


def test_the_order_of_keys_is_not_part_of_a_call() -> None:
    assert call_content("f", {"a": 1, "b": 2}) == call_content("f", {"b": 2, "a": 1})
    assert call_content("f", None) == call_content("f", {})
    assert call_content("f", {"a": 1}) != call_content("g", {"a": 1})
