"""What the requests of a batch can come to at most, all of them together. Pure."""

from __future__ import annotations

from collections import Counter

from engine.parsing.jobs import Prepared
from engine.usage import MoreUnit


class BatchFigures:
    """Of one input file, as far as it was read.

    Attributes:
        lines: how many requests.
        longest_input_tokens: of any of them.
        pieces: units that are no tokens.
    """

    def __init__(self, output_unsaid_tokens: int) -> None:
        """`output_unsaid_tokens`: of a choice whose request names no limit."""
        self._output_unsaid_tokens = output_unsaid_tokens
        self.lines = self.input_tokens = self.output_tokens = self.longest_input_tokens = 0
        self.pieces: Counter[MoreUnit] = Counter()

    def add(self, prepared: Prepared) -> None:
        """One more."""
        bounds, limit = prepared.bounds, prepared.max_output_tokens
        output_tokens = bounds.output_tokens
        if output_tokens is None:
            each = self._output_unsaid_tokens if limit is None else limit
            output_tokens = each * prepared.request.choices
        self.lines += 1
        self.input_tokens += bounds.input_tokens
        self.output_tokens += output_tokens
        self.longest_input_tokens = max(self.longest_input_tokens, bounds.input_tokens)
        self.pieces.update({unit: count for unit, count in bounds.pieces.items() if count})
