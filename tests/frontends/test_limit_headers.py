"""Every answer to somebody who is known says what is left of the limits, as the protocol has it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.frontends.apps import Front, open_front
from tests.gateways import add_key

LIMITS = {"requests_per_min": 60, "tokens_per_min": 1_000_000}
PROMPT = "#sim tokens=5\nHello"
MESSAGES: list[dict[str, str]] = [{"role": "user", "content": PROMPT}]

OPENAI = ("/v1/chat/completions", {"model": "sim-openai", "messages": MESSAGES})
RESPONSES = ("/v1/responses", {"model": "sim-responses", "input": PROMPT})
ANTHROPIC = ("/v1/messages", {"model": "sim-anthropic", "messages": MESSAGES, "max_tokens": 100})
COUNT = ("/v1/messages/count_tokens", {"model": "sim-anthropic", "messages": MESSAGES})
GEMINI = (
    "/v1beta/models/sim-gemini:generateContent",
    {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]},
)

OPENAI_NAMES = [
    f"x-ratelimit-{what}-{unit}"
    for unit in ("requests", "tokens")
    for what in ("limit", "remaining", "reset")
]
ANTHROPIC_NAMES = [
    f"anthropic-ratelimit-{unit}-{what}"
    for unit in ("requests", "tokens")
    for what in ("limit", "remaining", "reset")
]
DURATION = re.compile(r"(\d+m)?\d+(\.\d+)?s|\d+ms")
MOMENT = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def told(answer: httpx.Response) -> list[str]:
    """The headers about limits, in their order."""
    return [name for name in answer.headers if "ratelimit" in name]


async def post(front: Front, key: str, asked: tuple[str, Any], **more: Any) -> httpx.Response:
    path, document = asked
    headers = {"authorization": f"Bearer {key}"}
    return await front.client.post(path, json=document | more, headers=headers)


@pytest.mark.parametrize(
    ("asked", "more", "names"),
    [
        (OPENAI, {}, OPENAI_NAMES),
        (OPENAI, {"stream": True}, OPENAI_NAMES),
        (RESPONSES, {"stream": True}, OPENAI_NAMES),
        (GEMINI, {}, OPENAI_NAMES),
        (ANTHROPIC, {}, ANTHROPIC_NAMES),
        (ANTHROPIC, {"stream": True}, ANTHROPIC_NAMES),
        (COUNT, {}, ANTHROPIC_NAMES),
    ],
)
async def test_an_answer_says_what_is_left(
    tmp_path: Path, asked: tuple[str, Any], more: dict[str, Any], names: list[str]
) -> None:
    async with open_front(tmp_path) as front:
        account_id = front.setup.account_id
        _, key = await add_key(front.setup.gateway, account_id, limits=LIMITS)
        answer = await post(front, key, asked, **more)

    assert answer.status_code == 200, answer.text
    assert told(answer) == names
    limit, remaining, reset, most_tokens, tokens, _ = (answer.headers[name] for name in names)
    assert (limit, remaining, most_tokens) == ("60", "59", "1000000")
    assert 0 < int(tokens) <= 1_000_000
    assert (MOMENT if names is ANTHROPIC_NAMES else DURATION).fullmatch(reset)


async def test_refusals_and_our_own_routes_say_it_too(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        account_id = front.setup.account_id
        limits = {"requests_per_min": 2}
        _, key = await add_key(front.setup.gateway, account_id, limits=limits)
        answers = [
            await post(front, key, OPENAI, model="none"),
            await post(front, key, OPENAI, messages=7),
            await post(front, key, OPENAI),
            await post(front, key, ANTHROPIC),
            await front.client.get("/v1/account", headers={"authorization": f"Bearer {key}"}),
        ]
        unknown = await post(front, "sk-parshall-nobody", OPENAI)
        unlimited = await post(front, front.setup.key, OPENAI)

    assert [answer.status_code for answer in answers] == [404, 400, 429, 429, 200]
    left = "x-ratelimit-remaining-requests"
    assert [answer.headers.get(left) for answer in answers] == ["1", "0", "0", None, "0"]
    assert answers[3].headers["anthropic-ratelimit-requests-remaining"] == "0"
    for refused in answers[2:4]:
        wait_ms = int(refused.headers["retry-after-ms"])
        assert 20_000 < wait_ms <= 30_000
        assert refused.headers["retry-after"] == str(-(-wait_ms // 1_000))
    assert (unknown.status_code, told(unknown)) == (401, [])
    assert (unlimited.status_code, told(unlimited)) == (200, [])
