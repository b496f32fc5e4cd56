"""Elements as text: HTML that is XML as well. What is not `Markup` is escaped wherever it goes."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

Child = str | None
Value = str | float | None

_VOID: Final = frozenset({"meta", "line", "circle", "rect", "path", "polygon"})
_CONTROLS: Final = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127, 0xFFFE, 0xFFFF), "\ufffd")
"""Code points that XML has no way to write."""


class Markup(str):
    """Text that may stand in a page as it is."""

    __slots__ = ()


def tag(name: str, /, *children: Child, **attributes: Value) -> Markup:
    """An element.

    Args:
        name: of the element.
        children: `Markup` or text; None is left out.
        attributes: `class_` is class, other underscores are hyphens; numbers are written to a
            tenth, which is enough for coordinates; None is left out.

    >>> tag("p", "a < b", tag("b", "c"), class_="x", data_n=2.0)
    '<p class="x" data-n="2">a &lt; b<b>c</b></p>'
    """
    written = "".join(
        f' {_attribute(key)}="{_text(_number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(_text(child) for child in children if child is not None)
    if name in _VOID and not inner:
        return Markup(f"<{name}{written} />")
    return Markup(f"<{name}{written}>{inner}</{name}>")


def join(parts: Iterable[Child], between: str = "") -> Markup:
    """All one after another, escaped where they are plain text."""
    return Markup(_text(between).join(_text(part) for part in parts if part is not None))


def _text(child: str) -> str:
    if isinstance(child, Markup):
        return child
    clean = child.translate(_CONTROLS).encode("utf-8", "replace").decode()
    return escape(clean, quote=True)


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
