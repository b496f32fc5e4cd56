"""Requests for one of several deployments: encoded for the first that can say it."""

from __future__ import annotations

from dataclasses import replace

from engine.errors import InvalidRequestError
from engine.parsing.facts import Wanted
from engine.parsing.jobs import Ask, Encode, Prepared, Target, do_here
from engine.parsing.pool import open_parsing
from engine.routing.values import Asked
from tests.engine.parsing.test_pool import (
    APART,
    HELLO,
    NO_IMAGES,
    SPOOL,
    TO,
    apart,
    call_of,
    here,
    shown,
)


def among(*targets: Target) -> Ask:
    return lambda _asked: Encode(targets)


LOGIT_BIAS = call_of(
    "openai_chat", {"messages": [{"role": "user", "content": "Hi"}], "logit_bias": {"1": 5}}
)
"""Nobody but OpenAI has a word for it."""


async def test_the_first_that_can_say_it_is_encoded_for() -> None:
    """And the reasons of those before it are told; in both places."""
    cannot, can = TO["anthropic"], TO["openai_chat"]
    cases: list[tuple[tuple[Target, ...], int]] = [
        ((can, cannot), 0),
        ((cannot, can), 1),
        ((NO_IMAGES, cannot, TO["gemini"], can), 0),
        ((cannot, TO["gemini"], can, cannot), 2),
    ]
    async with open_parsing(APART, SPOOL) as pool:
        for targets, number in cases:
            ask = among(*targets)
            prepared = do_here(LOGIT_BIAS, ask)
            assert isinstance(prepared, Prepared)
            assert prepared.target == number
            assert [("logit_bias" in why) for why in prepared.unsaid] == [True] * number
            assert shown(await apart(pool, LOGIT_BIAS, ask)) == shown(prepared)
        none = among(TO["gemini"], cannot)
        refused = here(LOGIT_BIAS, none)
        assert isinstance(refused, InvalidRequestError)
        assert refused.param == "logit_bias"
        assert shown(await apart(pool, LOGIT_BIAS, none)) == shown(refused)
        assert pool.statistics.starts == 1


async def test_who_asks_is_told_the_same_facts_in_both_places() -> None:
    told: list[Asked] = []

    def ask(asked: Asked) -> Encode:
        told.append(asked)
        return Encode((TO["openai_chat"],))

    wanted = Wanted(prefixes=frozenset({"public"}), auto="public", words={"code": ("hello",)})
    call = replace(HELLO, session_id="one")
    async with open_parsing(APART, SPOOL) as pool:
        await pool.do(call, ask, wanted)
    do_here(call, ask, wanted)
    assert told[0] == told[1]
    assert told[0].features is not None
    assert told[0].features.code == 1
    assert None not in (told[0].session, told[0].prefix)
