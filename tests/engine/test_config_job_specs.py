"""How a provider of one's own is asked for jobs, as the configuration says it."""

from __future__ import annotations

import pytest

from engine.config import parse_config
from engine.errors import ConfigError
from engine.job import JobSpec
from engine.protocols.jobs.specs import OPENAI, VEO, XAI
from engine.rules import build_provider

PROVIDER = '[providers.clips]\nprotocol = "openai"\nbase_url = "https://clips.example/v1"\n'
MUSIC = """
[providers.clips.jobs.music]
submit = "/songs"
fields = { prompt = "input.text", seconds = "input.length" }
constants = { "input.mode" = "song", quality = 0.5 }
id = "ticket"
poll = "/songs/{id}"
state = "state"
states = { waiting = "submitted", busy = "running", ready = "succeeded", broken = "failed" }
results = ["songs.*.url"]
units = { seconds = "usage.seconds" }
cancel = "POST /songs/{id}/stop"
recover = "resubmit"
idempotency_header = "Idempotency-Key"
"""


def parse(*tables: str, environ: dict[str, str] | None = None) -> JobSpec:
    config = parse_config(PROVIDER + "".join(tables), "gateway.toml", environ or {})
    (spec,) = build_provider("clips", config.providers["clips"]).quirks.jobs.values()
    return spec


def test_a_table_is_a_spec() -> None:
    assert parse(MUSIC) == JobSpec(
        dialect="generations",
        submit="/songs",
        fields={"prompt": "input.text", "seconds": "input.length"},
        constants={"input.mode": "song", "quality": 0.5},
        id="ticket",
        poll="/songs/{id}",
        state="state",
        states={
            "waiting": "submitted", "busy": "running", "ready": "succeeded", "broken": "failed",
        },
        results=("songs.*.url",),
        result_type="audio/mpeg",
        units={"milliseconds": ("usage.seconds", 1_000)},
        cancel=("POST", "/songs/{id}/stop"),
        recover="resubmit",
        idempotency_header="Idempotency-Key",
    )  # fmt: skip


def test_a_dialect_that_is_known_stands_for_what_is_left_out() -> None:
    spec = parse('[providers.clips.jobs.video]\nlike = "openai"\npoll = "/films/{id}"\n')
    assert (spec.poll, spec.submit, spec.states) == ("/films/{id}", OPENAI.submit, OPENAI.states)


@pytest.mark.parametrize(("kind", "spec"), [("openai", OPENAI), ("gemini", VEO), ("xai", XAI)])
def test_known_providers_need_no_table(kind: str, spec: JobSpec) -> None:
    text = f'[providers.clips]\nkind = "{kind}"\n'
    names = {"OPENAI_API_KEY": "k", "GEMINI_API_KEY": "k", "XAI_API_KEY": "k"}
    config = parse_config(text, "gateway.toml", names)
    quirks = build_provider("clips", config.providers["clips"]).quirks
    assert quirks.jobs == {"video": spec}


def test_a_known_provider_can_make_more() -> None:
    text = '[providers.clips]\nkind = "openai"\n' + MUSIC
    config = parse_config(text, "gateway.toml", {"OPENAI_API_KEY": "k"})
    quirks = build_provider("clips", config.providers["clips"]).quirks
    assert set(quirks.jobs) == {"video", "music"}


def changed(line: str, other: str) -> str:
    """The table with another line in the place of that key's."""
    key = line.split(" = ")[0]
    lines = [other if each.startswith(f"{key} =") else each for each in MUSIC.splitlines()]
    return "\n".join(lines)


WRONG: list[tuple[str, str, int, str]] = [
    ("submit", 'submit = "songs"', 6, "must be a path behind the base URL"),
    ("submit", 'submit = "/a/../b"', 6, "must be a path behind the base URL"),
    ("submit", 'submit = "//evil.example/"', 6, "must be a path behind the base URL"),
    ("submit", 'submit = "/songs/{id}"', 6, "has '{id}', which nothing fills in"),
    ("submit", "", 5, "needs 'submit', or 'like'"),
    ("fields", 'fields = { prompt = "a b" }', 7, "must be names and indexes"),
    ("fields", 'fields = { promt = "a" }', 7, "did you mean 'prompt'?"),
    ("fields", 'fields = { seconds = "a" }', 7, "needs a place for the 'prompt'"),
    ("fields", 'fields = { prompt = "input" }', 7, "put two things at 'input'"),
    ("constants", 'constants = { "a..b" = 1 }', 8, "is named by its place"),
    ("id", 'id = "a.*"', 9, "must be names and indexes"),
    ("poll", 'poll = "/songs"', 10, "must have '{id}' in it"),
    ("state", 'state = ""', 5, "needs 'state'"),
    ("states", 'states = { ready = "done" }', 12, "must be 'submitted' or 'running'"),
    ("states", "states = {}", 5, "needs 'states'"),
    ("results", 'results = ["a..b"]', 13, "has 'a..b'"),
    ("results", "", 5, "needs 'results' or 'content'"),
    ("units", 'units = { minutes = "a" }', 14, "is no unit of ours"),
    ("cancel", 'cancel = "/songs/{id}"', 15, "must be a method and a path"),
    ("cancel", 'cancel = "GET /songs/{id}"', 15, "must be a method and a path"),
    ("cancel", 'remix = "/songs/{id}/again"', 15, "is of videos only"),
    ("cancel", 'remixed_from = "a..b"', 15, "must be names and indexes"),
    ("recover", 'recover = "list"', 16, "by a list needs 'listed'"),
    ("idempotency_header", 'idempotency_header = "Authorization"', 17, "must be the name"),
    ("idempotency_header", "", 16, "needs an 'idempotency_header'"),
    ("id", 'id = "ticket"\nresult_type = "text/html"', 10, "must be a media type"),
    ("id", 'id = "ticket"\npending_status = 200', 10, "must be a status of HTTP"),
    ("id", 'id = "ticket"\nas_text = ["n"]', 10, "names 'n', which has no place"),
    ("id", 'id = "ticket"\nvariants = { video = "video/mp4" }', 10, "are of 'content'"),
    ("id", 'id = "ticket"\ncontent = "/c/{id}/{variant}"', 10, "there are no 'variants'"),
    ("id", 'id = "ticket"\nlist_match = { "data.0" = "name" }', 10, "which nobody says"),
    ("id", 'id = "ticket"\nidd = "x"', 10, "is unknown; did you mean 'id'?"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "other", "line", "words"), WRONG)
def test_what_is_wrong_is_said_with_its_line(key: str, other: str, line: int, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(changed(key, other))
    message = str(refused.value)
    assert words in message
    assert message.startswith(f"gateway.toml:{line}: providers.clips.jobs.music")


def test_a_video_may_be_made_of_another() -> None:
    like = '[providers.clips.jobs.video]\nlike = "xai"\n'
    assert parse(like).remix is None
    spec = parse(like, 'remix = "/films/{id}/again"\nremixed_from = "made_of"\n')
    assert (spec.remix, spec.remixed_from) == ("/films/{id}/again", "made_of")
    for wrong in ("/films/again", "films/{id}", "/films/{id}/{variant}"):
        with pytest.raises(ConfigError, match=r"gateway.toml:6: providers\.clips\.jobs\.video"):
            parse(like, f'remix = "{wrong}"\n')


def test_there_are_two_kinds_of_jobs() -> None:
    with pytest.raises(ConfigError, match="did you mean 'video'"):
        parse('[providers.clips.jobs.vidoe]\nlike = "openai"\n')


def test_a_dialect_that_nobody_knows() -> None:
    with pytest.raises(ConfigError, match="must be 'openai' or 'veo' or 'xai'"):
        parse('[providers.clips.jobs.video]\nlike = "sora"\n')
