"""Bodies that are no JSON, or JSON that nobody means."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.abuse.rig import BODY_MAX_BYTES, PROMPT_CANARY, Rig, chat, check_error

PATHS = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "openai_completions": "/v1/completions",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/sim-gemini:generateContent",
}
MIB = 1024 * 1024


def body_of(protocol: str, prompt: str = f"#sim tokens=2\n{PROMPT_CANARY}") -> dict[str, Any]:
    """A small request of a protocol."""
    messages = [{"role": "user", "content": prompt}]
    match protocol:
        case "openai_responses":
            return {"model": "sim-openai", "input": prompt}
        case "openai_completions":
            return {"model": "sim-openai", "prompt": prompt}
        case "anthropic":
            return {"model": "sim-anthropic", "messages": messages, "max_tokens": 9}
        case "gemini":
            return {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}
        case _:
            return {"model": "sim-openai", "messages": messages}


NO_JSON: dict[str, bytes] = {
    "nothing": b"",
    "spaces": b" " * 1_000,
    "a brace": b"{",
    "two values": b"{}{}",
    "cut": b'{"model":"sim-openai","messages":[{"role":"us',
    "no object": b"[]",
    "a number": b"1",
    "a string": b'"sim-openai"',
    "null": b"null",
    "not a number": b'{"model":"sim-openai","temperature":NaN,"messages":[]}',
    "infinity": b'{"model":"sim-openai","temperature":-Infinity,"messages":[]}',
    "a comment": b'{"model":"sim-openai",/* */"messages":[]}',
    "single quotes": b"{'model':'sim-openai'}",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": json.dumps({"model": "sim-openai"}).encode("utf-16"),
    "no UTF-8": b'{"model":"\xff\xfe"}',
    "overlong UTF-8": b'{"model":"\xc0\xae"}',
    "a surrogate in UTF-8": b'{"model":"\xed\xa0\x80"}',
    "half a surrogate": b'{"model":"\\ud800","messages":[]}',
    "a control character": b'{"model":"a\x00b"}',
    "1,000,000 brackets": b"[" * 1_000_000,
    "1,000,000 objects inside one another": b'{"a":' * 200_000,
    "deep and closed": b'{"messages":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "a form": b"model=sim-openai&messages=hello",
    "XML": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
    "YAML": b"model: !!python/object/apply:os.system ['true']",
    "a pickle": b"\x80\x04\x95cos\nsystem\n(S'true'\ntR.",
    "gzip": b"\x1f\x8b\x08\x00" + b"\x00" * 100,
}


@pytest.mark.parametrize("name", NO_JSON)
@pytest.mark.parametrize("protocol", PATHS)
def test_what_is_no_request(unpaid: Rig, protocol: str, name: str) -> None:
    answer = unpaid.ask(PATHS[protocol], NO_JSON[name])

    assert answer.status == 400, answer.body
    message = check_error(answer, protocol)["message"]
    assert len(message) < 1_000
    assert "Traceback" not in message


WRONG: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "a number of 4,000 digits": lambda body: {**body, "max_tokens": 10**4_000},
    "a negative limit": lambda body: {**body, "max_tokens": -1, "max_output_tokens": -1},
    "a limit of 2^63": lambda body: {**body, "max_tokens": 2**63, "max_output_tokens": 2**63},
    "a huge exponent": lambda body: {**body, "temperature": 1e308},
    "a million choices": lambda body: {**body, "n": 1_000_000},
    "a model of a megabyte": lambda body: {**body, "model": "m" * MIB},
    "a model that is a list": lambda body: {**body, "model": ["sim-openai"]},
    "a model with a line end": lambda body: {**body, "model": "sim-openai\r\nx-evil: 1"},
    "a model that climbs": lambda body: {**body, "model": "../../v1/files"},
    "a model with a query": lambda body: {**body, "model": "sim-openai?key=1#x"},
    "a stream that is a word": lambda body: {**body, "stream": "yes"},
    "own words of Python": lambda body: {**body, "__class__": {"__init__": 1}, "__proto__": {}},
    "many fields": lambda body: body | {f"field-{n}": n for n in range(20_000)},
    "keys that are long": lambda body: body | {"k" * MIB: 1},
    "deep metadata": lambda body: {**body, "metadata": nested(200)},
    "deep tools": lambda body: {
        **body,
        "tools": [
            {"type": "function", "function": {"name": "f", "parameters": nested(200)}},
        ],
    },
    "tools that are words": lambda body: {**body, "tools": ["f"] * 1_000},
    "stops without end": lambda body: {**body, "stop": ["x"] * 10_000},
}


def nested(levels: int) -> Any:
    """An object so deep."""
    value: Any = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("protocol", ["openai_chat", "openai_responses", "anthropic"])
def test_what_no_request_says(rig: Rig, protocol: str, name: str) -> None:
    """Refused here or by the provider, or served; in each case in the protocol's own words."""
    answer = rig.ask(PATHS[protocol], WRONG[name](body_of(protocol)))

    assert answer.status in {200, 400, 402, 404, 413}, answer.body[:500]
    if answer.status == 200:
        assert answer.document
    else:
        assert len(check_error(answer, protocol)["message"]) < 10_000
    assert "x-evil" not in answer.headers


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"model":"sim-openai","model":"none","messages":[{"role":"user","content":"x"}]}', 404),
        (b'{"model":"sim-openai","messages":[],"messages":5}', 400),
        (b'{"stream":false,"model":"none","messages":[{"role":"user","content":"x"}]}', 404),
    ],
)
def test_of_equal_names_the_last_one_counts_everywhere(
    unpaid: Rig, body: bytes, status: int
) -> None:
    """Priced, checked and sent by the same one: the body is written anew from what was read."""
    assert unpaid.ask(PATHS["openai_chat"], body).status == status


def test_equal_names_do_not_reach_the_provider(rig: Rig) -> None:
    message = f'[{{"role":"user","content":"#sim tokens=2\\n{PROMPT_CANARY}"}}]'
    body = (
        f'{{"model":"x","max_tokens":7,"max_tokens":3,"model":"sim-openai","messages":{message}}}'
    )

    answer = rig.ask(PATHS["openai_chat"], body.encode())

    assert answer.status == 200
    assert rig.setup.sim.truth.records()[-1].request["max_tokens"] == 3


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"sim-openai","messages":[' + b"{}," * (10 * MIB // 3) + b"{}]}",
        b'{"model":"sim-openai","messages":[' + b"[]," * (10 * MIB // 3) + b"[]]}",
        b"{" + b'"a":{},' * (10 * MIB // 7) + b'"model":"sim-openai"}',
        b'{"model":"sim-openai","messages":"' + b"\\u0000" * (10 * MIB // 6) + b'"}',
        b" " * (10 * MIB) + b"{}",
    ],
    ids=["objects", "lists", "fields", "escapes", "spaces"],
)
def test_ten_megabytes_of_nothing(unpaid: Rig, body: bytes) -> None:
    answer = unpaid.ask(PATHS["openai_chat"], body)

    assert answer.status == 400
    assert len(check_error(answer)["message"]) < 1_000


def test_more_than_a_body_may_have(unpaid: Rig) -> None:
    answer = unpaid.ask(PATHS["openai_chat"], b"x" * (BODY_MAX_BYTES + 1))

    assert answer.status == 413
    assert check_error(answer)["code"] == "body_too_large"


@pytest.mark.parametrize("size", [2**31, 2**63 - 1, 10**15])
def test_more_than_a_body_may_have_is_refused_by_its_announcement(unpaid: Rig, size: int) -> None:
    head = {"content-length": str(size)}

    assert unpaid.ask(PATHS["openai_chat"], b"{}", headers=head).status == 413


def test_chunks_without_end_are_refused_at_the_bound(unpaid: Rig) -> None:
    chunk = b"%x\r\n%b\r\n" % (MIB, b"x" * MIB)
    head = (
        f"POST {PATHS['openai_chat']} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n"
        f"authorization: Bearer {unpaid.key}\r\n\r\n"
    )
    answer = unpaid.send(head.encode() + chunk * (BODY_MAX_BYTES // MIB + 1))

    assert answer.status == 413


def test_a_compressed_body_is_not_inflated(unpaid: Rig) -> None:
    headers = {"content-encoding": "gzip"}

    assert unpaid.ask(PATHS["openai_chat"], NO_JSON["gzip"], headers=headers).status == 400


def test_what_was_said_is_not_said_again(rig: Rig) -> None:
    """Errors name fields, not what stood in them."""
    body = chat(temperature=PROMPT_CANARY)
    answer = rig.ask(PATHS["openai_chat"], body)

    assert answer.status == 400
    assert PROMPT_CANARY.encode() not in answer.body
