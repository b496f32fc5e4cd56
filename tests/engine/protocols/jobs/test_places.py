"""Places in JSON: what is found there, and what is written there."""

from __future__ import annotations

import pytest

from engine.protocols.jobs.places import is_place, put_at, value_at, values_at


def test_a_star_is_each_of_a_list() -> None:
    document = {"samples": [{"video": {"uri": "a"}}, {"video": None}, {"video": {"uri": "b"}}]}
    assert list(values_at(document, "samples.*.video.uri")) == ["a", "b"]


@pytest.mark.parametrize("place", ["missing", "samples.3", "samples.uri", "word.0", "word.*"])
def test_nothing_is_found_where_nothing_stands(place: str) -> None:
    assert value_at({"samples": [1], "word": "text"}, place) is None


def test_a_place_is_written_with_what_is_around_it() -> None:
    body: dict[str, object] = {"parameters": {"seed": 1}}
    put_at(body, "instances.0.prompt", "a cat")
    put_at(body, "instances.0.image.mimeType", "image/png")
    put_at(body, "parameters.sampleCount", 2)
    assert body == {
        "parameters": {"seed": 1, "sampleCount": 2},
        "instances": [{"prompt": "a cat", "image": {"mimeType": "image/png"}}],
    }


def test_what_is_in_the_way_is_not_written_over() -> None:
    with pytest.raises(ValueError, match="leads through"):
        put_at({"input": "words"}, "input.prompt", "a cat")


@pytest.mark.parametrize("text", ["", ".", "a..b", "a b", "data.99999999", "a.*", "x" * 300])
def test_what_is_no_place_of_one_value(text: str) -> None:
    assert not is_place(text)


def test_a_flood_of_values_is_bounded() -> None:
    assert len(list(values_at({"urls": ["u"] * 10_000}, "urls.*"))) == 64
