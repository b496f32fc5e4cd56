"""The text of files, and its passages."""

from __future__ import annotations

import random
import time

import pytest

from engine.agents.extracting import (
    PASSAGE_CHARS,
    UnreadableFileError,
    passages_of,
    text_of,
)

PAGE = """<!doctype html><html><head><title>T</title><style>p { color: red }</style></head>
<body><nav>Home</nav><p>One &amp; <b>two</b>.<br>Three</p><script>alert("no")</script></body>"""


def test_of_html_what_a_reader_sees() -> None:
    assert text_of(PAGE.encode(), "text/html", "a").split() == ["Home", "One", "&", "two.", "Three"]
    assert "<p>" in text_of(PAGE.encode(), "text/plain", "a.txt")


@pytest.mark.parametrize(
    ("page", "seen"),
    [
        ("a <!-- b --> c", "a c"),
        ('<p title="a > b">c', "c"),
        ("<svg><style></style>a</svg>b", "b"),
        ("<script>if (a < b) '</p>'</script>c", "c"),
        ("1 < 2 &#65; &#" + "9" * 5_000 + ";", "1 < 2 A \ufffd"),
        ("a <![ b", "a"),
    ],
)
def test_of_html_however_it_is_written(page: str, seen: str) -> None:
    assert text_of(page.encode(), "text/html", "a") == seen


@pytest.mark.parametrize(
    "piece", ["<!--", "<a ", '<a "', "<svg>", "</p>", "<script>", "<?", "&#1", "<a '>"]
)
def test_hostile_html_takes_no_longer_than_any(piece: str) -> None:
    began_s = time.process_time()
    text_of(("<svg>" * 50_000 + piece * 100_000).encode(), "text/html", "a")
    text_of((piece * 100_001).encode(), "text/html", "a")
    assert time.process_time() - began_s < 5, "what looks back takes minutes"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_in_unicode(encoding: str) -> None:
    assert text_of("Grüße, 世界".encode(encoding), "text/markdown", "a.md") == "Grüße, 世界"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"%PDF-1.7\n", "is a PDF"),
        (b"PK\x03\x04word/document.xml", "Word"),
        (b"\xff\xfb\x90", "not text"),
        (b"a\0b", "not text"),
        ("Grüße".encode("latin-1"), "not text"),
    ],
)
def test_what_no_text_is_read_of_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(UnreadableFileError, match=words):
        text_of(data, "text/plain", "a.txt")


def test_passages_cover_the_text_and_overlap_a_little() -> None:
    chance = random.Random(13)
    for _ in range(50):
        words = [
            chance.choice(["word", "a", "long" * 500, ".\n", "\n\n", "end. "]) for _ in range(900)
        ]
        text = chance.choice(["", " "]).join(words)
        passages = list(passages_of(text))

        assert [each.number for each in passages] == list(range(1, len(passages) + 1))
        covered = 0
        for each in passages:
            assert each.text == text[each.start : each.end]
            assert 0 < len(each.text) <= PASSAGE_CHARS
            assert each.start <= covered or not text[covered : each.start].strip()
            assert each.end > covered
            covered = each.end
        assert not text[covered:].strip()


def test_a_passage_ends_with_a_paragraph_where_there_is_one() -> None:
    text = ("x" * 1_000 + "\n\n") * 3
    assert [each.text.endswith("\n\n") for each in passages_of(text)] == [True] * 3
