"""The route of generated media: open to who has the URL, and to nobody else."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from engine import parse_config
from engine.errors import ConfigError
from tests.frontends.apps import open_front

DATA = bytes(range(256)) * 3_000


async def test_who_has_the_url_needs_no_key(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        store = front.setup.gateway.media
        origin = f"http://{front.server.addresses[0]}"
        url = store.url_of(store.put(front.setup.account_id, DATA, "image/png"), origin)
        async with httpx.AsyncClient(verify=False, trust_env=False) as anybody:
            answer = await anybody.get(url)
            head = await anybody.head(url)

    assert answer.status_code == 200
    assert answer.content == DATA
    for said in (answer.headers, head.headers):
        assert said["content-type"] == "image/png"
        assert said["content-length"] == str(len(DATA))
        assert said["content-disposition"] == "attachment"
        assert said["x-content-type-options"] == "nosniff"
        assert "private" in said["cache-control"]
    assert (head.status_code, head.content) == (200, b"")


async def test_whatever_is_wrong_is_one_and_the_same(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        store = front.setup.gateway.media
        url = store.url_of(store.put(front.setup.account_id, DATA, "image/png"), "")
        signed = url.partition("signature=")[2]
        answers = [
            await front.client.get(wrong)
            for wrong in (
                url.partition("?")[0],
                url.replace(signed, "0" * 64),
                url.replace(signed, "%ff"),
                url.replace("expires=", "expires=9"),
                url.replace("/v1/media/", "/v1/media/x"),
                "/v1/media/unknown?expires=9999999999&signature=x",
            )
        ]

    assert [answer.status_code for answer in answers] == [404] * len(answers)
    shapes = {
        answer.content.replace(answer.headers["x-request-id"].encode(), b"") for answer in answers
    }
    assert len(shapes) == 1
    assert answers[0].json()["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    "base_url", ["llm.example", "ftp://x", "https://a:b@x", "https://x?y", "https://x:y"]
)
def test_a_base_url_that_is_none_is_refused(base_url: str) -> None:
    with pytest.raises(ConfigError, match=r"base_url.* must be http\(s\)://HOST"):
        parse_config(f'[media]\nbase_url = "{base_url}"\n', "test.toml", {})
