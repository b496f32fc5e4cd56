"""What a reader sees of HTML, in time linear in it: an account's files are anything. Pure."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Final

_HIDDEN: Final = frozenset({"script", "style", "template", "noscript", "svg", "head"})
_RAW: Final = frozenset({"script", "style"})
"""In these nothing is a tag but their own end."""
_BLOCKS: Final = frozenset(
    {
        "address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "fieldset",
        "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li",
        "main", "nav", "ol", "p", "pre", "section", "table", "td", "th", "title", "tr", "ul",
    }
)  # fmt: skip
_TAG: Final = re.compile(r"<(/?)([A-Za-z][^\s/<>]{0,63})")
_REST: Final = re.compile(r"""(?:[^<>"']|"[^"<]*"|'[^'<]*')*+>""")
"""Of a tag. It stops at the next `<`, so that no stretch is looked through again and again."""
_LONG_NUMBER: Final = re.compile(r"&#[xX]?[0-9A-Fa-f]{8,};?")
"""No character has such a one."""


def seen_text(text: str) -> str:
    """The text of a page.

    >>> seen_text("<p>One &amp; <i>two</i></p><style>p {}</style>").strip()
    'One & two'
    """
    joined = html.unescape(_LONG_NUMBER.sub("\ufffd", "".join(_pieces(text))))
    lines = (" ".join(line.split()) for line in joined.splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _pieces(text: str) -> Iterator[str]:
    """What stands between tags; what is begun and never ended is not seen."""
    hidden: str | None = None
    at = 0
    while True:
        begins = text.find("<", at)
        if hidden is None:
            yield text[at:] if begins < 0 else text[at:begins]
        if begins < 0:
            return
        tag = _TAG.match(text, begins)
        if tag is None:
            end = _end_of_other(text, begins)
            if end == begins + 1 and hidden is None:
                yield "<"
        else:
            rest = _REST.match(text, tag.end())
            end = text.find(">", tag.end()) + 1 if rest is None else rest.end()
        if not end:
            return
        at = end
        if tag is None:
            continue
        name, closes = tag[2].lower(), bool(tag[1])
        if closes and name == hidden:
            hidden = None
        elif hidden is None and name in _BLOCKS:
            yield "\n"
        if closes or name not in _HIDDEN:
            continue
        hidden = hidden or name
        if name in _RAW:
            at = _end_of_raw(text, name, at)
            if at < 0:
                return


def _end_of_other(text: str, begins: int) -> int:
    """Behind a comment or a declaration; behind the `<` where it is neither; 0: it never ends."""
    if text.startswith("<!--", begins):
        found = text.find("-->", begins + 4)
        return found + 3 if found >= 0 else 0
    if text.startswith(("<!", "<?", "</"), begins):
        return text.find(">", begins) + 1
    return begins + 1


def _end_of_raw(text: str, name: str, at: int) -> int:
    """Where the tag that ends it begins; -1: nowhere."""
    found = re.compile(rf"</{name}", re.IGNORECASE).search(text, at)
    return -1 if found is None else found.start()
