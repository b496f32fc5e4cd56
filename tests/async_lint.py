"""flake8-async at a fifth of its cost: the same rules over the same files, without repairs.

    python -m tests.async_lint --disable=ASYNC9 engine/exchange.py

A visitor of the tool may repair code, so each makes every node of the concrete tree anew and asks
for all positions again. Nothing is repaired here: all visitors are led through one tree, and there
only to where something is for them; those of the abstract tree are asked only about nodes that they
have a method for. Functions and classes in which nothing is concurrent are passed over, as whole
files are. tests/test_quality.py holds this against the tool itself.
"""

from __future__ import annotations

import ast
import gc
import inspect
import re
import sys
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

import libcst
from flake8_async import Plugin, main  # type: ignore[import-untyped]
from flake8_async.base import Error  # type: ignore[import-untyped]
from flake8_async.runner import (  # type: ignore[import-untyped]
    Flake8AsyncRunner,
    Flake8AsyncRunner_cst,
)
from flake8_async.visitors import (  # type: ignore[import-untyped]
    ERROR_CLASSES_CST,
    utility_visitors_cst,
)
from flake8_async.visitors.flake8asyncvisitor import (  # type: ignore[import-untyped]
    Flake8AsyncVisitor_cst,
)
from libcst.metadata import CodePosition, CodeRange, PositionProvider

from tests.concurrency import CONCURRENT

KINDS: dict[str, int] = {}
"""A bit for each class of nodes."""


@dataclass(frozen=True, slots=True)
class Inside:
    """What visitors meet in a node, and the kinds of all nodes from there on down.

    The parts are its children that some visitor looks for or into and, where a visitor has a method
    for an attribute of the node, the name of that method before or after them.
    """

    parts: tuple[libcst.CSTNode | str, ...]
    kinds: int


INSIDE: dict[libcst.CSTNode, Inside] = {}
"""Of the file at hand; nodes are compared by identity."""
PAST: set[Any] = set()
"""Visitors of the abstract tree that lead themselves through what is below the node at hand."""
FUNCTIONS_AT: list[CodePosition] = []
"""Where those of the file at hand begin, from top to bottom."""
COMMENTS_COUNT: list[bool] = []
"""Not empty where the file at hand may tell the tool to say nothing."""


@cache
def attributes(kind: type[libcst.CSTNode]) -> tuple[tuple[str, str | None, str | None], ...]:
    """Those of a kind of node that visitors are led to, in that order, and the names of the methods
    that some visitor has for before and after each."""
    source = inspect.getsource(kind._visit_and_replace_children)
    known = attribute_methods()
    return tuple(
        (
            name,
            before if (before := f"visit_{kind.__name__}_{name}") in known else None,
            after if (after := f"leave_{kind.__name__}_{name}") in known else None,
        )
        for name in dict.fromkeys(re.findall(r'visit_\w+\(\s*self,\s*"(\w+)"', source))
    )


def children(value: Any) -> Sequence[libcst.CSTNode]:
    """What is in an attribute: one node, many, or none."""
    kind = value.__class__
    if kind is tuple or kind is list:
        found: Sequence[libcst.CSTNode] = value
        return found
    return () if value is None or kind is libcst.MaybeSentinel else (value,)


def inside(node: libcst.CSTNode) -> Inside:
    known = INSIDE.get(node)
    if known is None:
        kinds, anybody = bit(node.__class__.__name__), interest_of_all()
        parts: list[libcst.CSTNode | str] = []
        for name, before, after in attributes(node.__class__):
            if before:
                parts.append(before)
            for part in children(getattr(node, name)):
                if is_trivia(part.__class__) and not COMMENTS_COUNT:
                    continue
                below = inside(part).kinds
                kinds |= below
                if below & anybody:
                    parts.append(part)
            if after:
                parts.append(after)
        known = INSIDE[node] = Inside(tuple(parts), kinds)
    return known


@cache
def is_trivia(node: type) -> bool:
    """White space, comments and punctuation are two thirds of all nodes."""
    if node.__module__ not in ("libcst._nodes.whitespace", "libcst._nodes.op"):
        return False
    return node is libcst.Comment or not bit(node.__name__) & interest_of_all()


@cache
def interest_of_all() -> int:
    kinds = 0
    for visitor in (*ERROR_CLASSES_CST, *utility_visitors_cst):
        kinds |= interest(visitor)
    return kinds


@cache
def attribute_methods() -> frozenset[str]:
    visitors = {*ERROR_CLASSES_CST, *utility_visitors_cst}
    names = {name for visitor in visitors for name in methods(visitor)}
    return frozenset(name for name in names if name.count("_") > 1)


@cache
def methods(visitor: Hashable) -> dict[str, Any]:
    """Those that do something: the base class has an empty one for each node and attribute."""
    base = libcst.CSTTransformer
    return {
        name: getattr(visitor, name)
        for name in dir(visitor)
        if name.startswith(("visit_", "leave_"))
        and getattr(visitor, name) is not getattr(base, name, None)
    }


@cache
def interest(visitor: Hashable) -> int:
    """The kinds of nodes that a visitor has a method for, of the node or of an attribute."""
    kinds = 0
    for name in methods(visitor):
        kinds |= bit(name.split("_")[1])
    return kinds


@cache
def entering_and_leaving(visitor: Hashable, node: str) -> tuple[Any, Any]:
    mine = methods(visitor)
    return mine.get(f"visit_{node}"), mine.get(f"leave_{node}")


def bit(kind: str) -> int:
    return 1 << KINDS.setdefault(kind, len(KINDS))


visit_and_replace = libcst.CSTNode.visit


def visit(node: libcst.CSTNode, visitor: Any) -> Any:
    """As `CSTNode.visit`, without new nodes. Visitors call it too, for what they look into."""
    if not isinstance(visitor, Flake8AsyncVisitor_cst):
        return visit_and_replace(node, visitor)
    here, kind = inside(node), visitor.__class__
    if here.kinds & interest(kind):
        enter, leave = entering_and_leaving(kind, node.__class__.__name__)
        if enter is None or enter(visitor, node) is not False:
            for part in here.parts:
                if not isinstance(part, str):
                    visit(part, visitor)
                elif method := methods(kind).get(part):
                    method(visitor, node)
        if leave is not None:
            leave(visitor, node, node)
    return node


class Positions:
    """Where nodes of a file are. Of functions, asked for in every file, the abstract tree says it;
    of others it is found out where one is asked for: of a fault, of a comment."""

    def __init__(self, module: libcst.Module) -> None:
        self._module = module
        nodes = functions_in(module)
        self._functions = dict(zip(nodes, FUNCTIONS_AT, strict=True))

    @cached_property
    def _others(self) -> Mapping[libcst.CSTNode, Any]:
        # `MetadataWrapper.resolve` would also lead no visitors at all through the whole tree.
        wrapper = libcst.MetadataWrapper(self._module, unsafe_skip_copy=True)
        return PositionProvider()._gen(wrapper)

    def __getitem__(self, node: libcst.CSTNode) -> Any:
        start = self._functions.get(node)
        return self._others[node] if start is None else CodeRange(start, start)


def functions_in(node: libcst.CSTNode) -> Iterator[libcst.CSTNode]:
    """From top to bottom."""
    for part in inside(node).parts:
        if not isinstance(part, str) and inside(part).kinds & bit("FunctionDef"):
            if isinstance(part, libcst.FunctionDef):
                yield part
            yield from functions_in(part)


def run_on_one_tree(self: Any) -> Iterator[Error]:
    """As `Flake8AsyncRunner_cst.run`: every problem that a visitor of the concrete tree finds."""
    assert not self.options.autofix_codes, "repairs need the tool itself"
    INSIDE.clear()
    positions = Positions(self.module)
    for visitor in (*self.utility_visitors, *self.visitors):
        visitor.metadata = {PositionProvider: positions}
        visit(self.module, visitor)
    yield from self.state.problems
    self.noqas = self.state.noqas


@cache
def ast_method(visitor: Hashable, node: str) -> Any:
    """What a visitor does with a node, if anything: `ast.NodeVisitor` itself does nothing."""
    name = f"visit_{node}"
    method = getattr(visitor, name, None)
    return None if method is getattr(ast.NodeVisitor, name, None) else method


def visit_ast(self: Any, node: ast.AST) -> None:
    """As `Flake8AsyncRunner.visit`: one node for each visitor that is not past it."""
    methods_here, by_themselves = ast_methods(self, node.__class__.__name__), set()
    for visitor, method in methods_here:
        if visitor not in PAST:
            method(node)
            if visitor.novisit:
                by_themselves.add(visitor)

    PAST.update(by_themselves)
    self.generic_visit(node)
    for visitor in by_themselves:
        visitor.novisit = False
    PAST.difference_update(by_themselves)

    for visitor, _ in methods_here:  # whoever has kept something of the node has looked at it
        if visitor.outer and visitor not in PAST and node in visitor.outer:
            visitor.set_state(visitor.outer.pop(node))


@cache
def ast_methods(runner: Any, node: str) -> list[tuple[Any, Any]]:
    """The visitors that do something with nodes of a kind, and what."""
    visitors = (*runner.utility_visitors, *runner.visitors)
    found = [(visitor, ast_method(visitor.__class__, node)) for visitor in visitors]
    return [(visitor, partial(method, visitor)) for visitor, method in found if method]


def plugin_of(source: str, filename: str) -> Any:
    """As `Plugin.from_source`, without the functions and classes in which nothing is concurrent."""
    tree = ast.parse(source, filename=filename)
    lines, names = source.splitlines(keepends=True), imported(tree, source)
    for statement in tree.body:
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef):
            continue
        place = slice(first_line(statement) - 1, statement.end_lineno)
        text = "".join(lines[place])
        if not CONCURRENT.search(text) and names.isdisjoint(re.findall(r"\w+", text)):
            lines[place] = ["\n"] * len(lines[place])
    ast_methods.cache_clear()
    COMMENTS_COUNT[:] = [True] if "noqa" in source.lower() else []
    plugin: Any = plugin_from_source("".join(lines), filename=filename)
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    starts = [(n.lineno, n.col_offset) for n in ast.walk(plugin._tree) if isinstance(n, functions)]
    FUNCTIONS_AT[:] = [CodePosition(*start) for start in sorted(starts)]
    return plugin


def imported(tree: ast.Module, source: str) -> set[str]:
    """What names stand for something concurrent."""
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and CONCURRENT.search(ast.unparse(node))
        for alias in node.names
    }


def first_line(statement: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)])


plugin_from_source = Plugin.from_source


if __name__ == "__main__":
    gc.disable()  # trees of one file at a time; to look through them again and again finds nothing
    libcst.CSTNode.__post_init__ = lambda self: None  # type: ignore[method-assign]  # it validates
    libcst.CSTNode.visit = visit  # type: ignore[method-assign, assignment]
    Flake8AsyncRunner_cst.run = run_on_one_tree
    Flake8AsyncRunner.visit = visit_ast
    Plugin.from_source = plugin_of
    sys.exit(main())
