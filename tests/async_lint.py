"""flake8-async at half of its cost: the same rules over the same files, without repairs.

    python -m tests.async_lint --disable=ASYNC9 engine/exchange.py

The tool finds the positions of all nodes anew for each of its visitors, because a visitor that
repairs code leaves another tree behind. Nothing is repaired here: all visitors walk one tree.
tests/test_quality.py holds this against the tool itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import libcst
from flake8_async import main  # type: ignore[import-untyped]
from flake8_async.base import Error  # type: ignore[import-untyped]
from flake8_async.runner import Flake8AsyncRunner_cst  # type: ignore[import-untyped]


def run_on_one_tree(self: Flake8AsyncRunner_cst) -> Iterator[Error]:
    """As `Flake8AsyncRunner_cst.run`: every problem that a visitor of the concrete tree finds."""
    assert not self.options.autofix_codes, "repairs need the tool itself"
    tree = libcst.MetadataWrapper(self.module, unsafe_skip_copy=True)
    for visitor in (*self.utility_visitors, *self.visitors):
        tree.visit(visitor)
    yield from self.state.problems
    self.noqas = self.state.noqas


if __name__ == "__main__":
    Flake8AsyncRunner_cst.run = run_on_one_tree
    sys.exit(main())
