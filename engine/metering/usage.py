"""Output as it is received: text counted, usage reported, and what of it reached the client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from engine.events import (
    Begin,
    Event,
    MediaDelta,
    NativeEvent,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallBegin,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from engine.metering.limits import UsageFlag, UsageLimits
from engine.metering.tokens import Count, TextCounter

# Nearer to a limit than this, every event is counted before it is let through.
_NEAR_TOKENS = 1_024
# Kept free when text passes uncounted: what a piece does to the tokens before it is far less.
_PASS_ROOM_TOKENS = 64
# A token is at least a byte, a character at most four.
_TOKENS_PER_CHAR_MAX = 4
_AFTER_REPORT_MAX = 8


def text_channel(choice: int) -> str:
    """The channel of a choice's plain text."""
    return f"{choice}.text"


def generated_texts(events: Sequence[Event]) -> list[tuple[str, str]]:
    """What of these events was generated as text, by channel: what interleaves on the wire (two
    choices, two tool calls) is not one text."""
    texts = []
    for event in events:
        match event:
            case TextDelta(text=text, choice=choice):
                channel = text_channel(choice)
            case ToolCallDelta(arguments=text, index=index, choice=choice):
                channel = f"{choice}.tool.{index}"
            case ReasoningDelta(text=text, choice=choice):
                channel = f"{choice}.reasoning"
            case ToolCallBegin(name=text, index=index, choice=choice):
                channel = f"{choice}.tool.{index}"
            case RefusalDelta(text=text, choice=choice):
                channel = f"{choice}.refusal"
            case NativeEvent(generated=text, choice=choice):
                channel = f"{choice}.native"
            case MediaDelta(transcript=text, choice=choice):
                channel = f"{choice}.transcript"
            case _:
                continue
        if text:
            texts.append((channel, text))
    return texts


class OutputMeter:
    """Meters the output of one attempt.

    Text comes by channel (choice 0's content, its tool call 1, …), since what interleaves on the
    wire is not one text. `client_bytes` is the position in the client's stream behind which a piece
    is delivered.
    """

    __slots__ = (
        "_after_report", "_clamped", "_count", "_counters", "_denied", "_passed",
        "_passed_channel", "_spare_chars", "_text_at_report", "_uncounted_chars", "_undelivered",
        "has_media", "known_tokens", "limits", "pictures", "reported", "said", "service_tier",
        "wanted_tokens",
    )  # fmt: skip

    def __init__(self, count: Count) -> None:
        self._count = count
        self._counters: dict[str, TextCounter] = {}
        self._undelivered: list[tuple[int, str, str]] = []
        self._uncounted_chars = 0
        self._passed: list[tuple[int, str]] = []
        self._passed_channel = ""
        self._spare_chars = 0
        self._after_report: list[tuple[str, str]] = []
        """The first texts since the report, not counted yet: the next report may cover them."""
        self._text_at_report: int | None = None
        self.known_tokens = 0
        """Output tokens as last counted; at most 200 characters a channel behind."""
        self.limits: UsageLimits | None = None
        """What can have been consumed at most; None: anything."""
        self.said: Usage | None = None
        """The provider's own figures, field by field the latest; None while it has sent none."""
        self.reported: Usage | None = None
        """The same, once there is a figure of the output among them that can be one."""
        self.service_tier: str | None = None
        """How the provider says that it serves, in `Begin`'s words."""
        self._clamped = False
        """A figure was above what can have been."""
        self._denied = False
        """The latest figure of the output was none, for text that was received."""
        self.has_media = False
        """Sound or pictures have come, which are no text."""
        self.pictures = 0
        """Of what has come."""
        self.wanted_tokens = 0
        """The limit that the texts would have needed that did not fit last."""

    def take_figures(self, events: Sequence[Event]) -> None:
        """Take what the provider reports in these events."""
        for event in events:
            match event:
                case UsageReport(usage=usage, service_tier=tier):
                    self.report(self._with_pictures(usage))
                    self.service_tier = tier or self.service_tier
                case Begin(usage=usage, service_tier=tier):
                    self.service_tier = tier or self.service_tier
                    if usage is not None:
                        self._say(replace(usage, output_tokens=0, reasoning_tokens=0))
                case MediaDelta(kind=kind, data=data) if data:
                    self.has_media = True
                    self.pictures += kind == "image"

    def _with_pictures(self, usage: Usage) -> Usage:
        """With those that have come, where they are paid for and the provider does not count."""
        limits = self.limits
        if not self.pictures or limits is None or "images" in usage.more:
            return usage
        if "images" not in limits.more_max:
            return usage
        return replace(usage, more={**usage.more, "images": self.pictures})

    def report(self, usage: Usage) -> None:
        """Take the provider's figures for everything so far.

        No output for text that was received is no figure: the rest of the report counts.
        """
        if self._passed:
            self._add_passed()
        if "output_tokens" in usage.unsaid:
            self._say(usage)
            return
        self._denied = not usage.output_tokens and bool(self._counters or self._after_report)
        self._say(usage)
        if self._denied:
            return
        self.reported = self.said
        texts, self._after_report = self._after_report, []
        for channel, text in texts:
            self._add(channel, text)
        self._text_at_report = None

    def _say(self, usage: Usage) -> None:
        if self.said is not None:
            usage = usage.over(self.said)
        if self.limits is not None and not self.limits.admit(usage):
            self._clamped = True
            received = self._recount_all() if usage.output_tokens > self.limits.output_max else 0
            usage = self.limits.clamp(usage, received)
        self.said = usage
        if self.reported is not None:
            self.reported = usage

    @property
    def flags(self) -> tuple[UsageFlag, ...]:
        """What is wrong with the provider's figures."""
        said, consumed = self.said, self.consumed()
        doubtful = self._denied or (
            consumed is not None and 2 * consumed.output_tokens < self.known_tokens
        )
        found: list[tuple[UsageFlag, bool]] = [
            ("usage_clamped", self._clamped),
            ("usage_invalid", said is not None and said.invalid),
            ("usage_doubtful", doubtful),
        ]
        return tuple(flag for flag, is_so in found if is_so)

    def consumed(self) -> Usage | None:
        """The provider's figures, and on top the text that came after them, by our own count."""
        if self._after_report:
            self._count_after_report()
        if self.reported is None or self._text_at_report is None:
            return self.reported
        since = max(0, self._recount() - self._text_at_report)
        return replace(self.reported, output_tokens=self.reported.output_tokens + since)

    @property
    def spent_tokens(self) -> int:
        """Output tokens so far, hidden ones too as far as they were reported; as `known_tokens`,
        a little behind."""
        return self._spent(self.known_tokens)

    def _spent(self, counted_tokens: int) -> int:
        if self.reported is None:
            return counted_tokens
        at_report = self._text_at_report
        since = 0 if at_report is None else max(0, counted_tokens - at_report)
        return max(counted_tokens, self.reported.output_tokens + since)

    @property
    def report_covers_all(self) -> bool:
        """Whether no text has come since the provider's figures."""
        return self._text_at_report is None and not self._after_report

    def open_pass(self, channel: str, limit_tokens: int | None) -> None:
        """Let text of a channel pass by: until so much of it has come that it is recounted, or
        that it may be near the limit, it needs no more than to be remembered."""
        self._add_passed()
        self._passed_channel, self._spare_chars = channel, 0
        counter = self._counters.get(channel)
        if counter is None or self.reported is not None or self._after_report:
            return
        spare_chars = counter.spare_chars
        if limit_tokens is not None:
            uncounted_tokens = _TOKENS_PER_CHAR_MAX * self._uncounted_chars
            room_tokens = limit_tokens - self.spent_tokens - uncounted_tokens - _PASS_ROOM_TOKENS
            spare_chars = min(spare_chars, room_tokens // _TOKENS_PER_CHAR_MAX)
        self._spare_chars = spare_chars

    def pass_by(self, text: str, client_bytes: int) -> bool:
        """`add` it to `open_pass`'s channel; False, and nothing done, where it has to be looked
        at."""
        spare_chars = self._spare_chars - len(text)
        if spare_chars < 0:
            return False
        self._spare_chars = spare_chars
        self._passed.append((client_bytes, text))
        return True

    def _add_passed(self) -> None:
        if not self._passed:
            return
        channel, passed, self._passed = self._passed_channel, self._passed, []
        self._undelivered.extend([(position, channel, text) for position, text in passed])
        self._add(channel, "".join([text for _, text in passed]))

    def add(self, channel: str, text: str, client_bytes: int) -> None:
        """Count a piece of text that ends at `client_bytes` of the client's stream."""
        if self._passed:
            self._add_passed()
        self._undelivered.append((client_bytes, channel, text))
        if self.reported is None or self._text_at_report is not None:
            self._add(channel, text)
            return
        # Gemini reports with every chunk: to count all text each time would cost more than it says.
        self._after_report.append((channel, text))
        if len(self._after_report) > _AFTER_REPORT_MAX:
            self._count_after_report()

    def _count_after_report(self) -> None:
        if self._after_report:
            self._text_at_report = self._recount()
            texts, self._after_report = self._after_report, []
            for channel, text in texts:
                self._add(channel, text)

    def _add(self, channel: str, text: str) -> None:
        counter = self._counters.get(channel)
        if counter is None:
            counter = self._counters[channel] = TextCounter(self._count)
        uncounted_chars = counter.uncounted_chars
        recounted = counter.add(text)
        self._uncounted_chars += counter.uncounted_chars - uncounted_chars
        if recounted:
            self.known_tokens = sum(c.known_tokens for c in self._counters.values())

    def delivered_to(self, client_bytes: int) -> None:
        """The client's stream has been handed to the client up to `client_bytes`."""
        self._add_passed()
        undelivered = self._undelivered
        count = 0
        for position, _, _ in undelivered:
            if position > client_bytes:
                break
            count += 1
        del undelivered[:count]

    def fits(self, texts: Sequence[tuple[str, str]], limit_tokens: int) -> bool:
        """Whether these further texts stay within a limit, with what is reported beside the text
        that was received; exact where it is near."""
        self._add_passed()
        self._count_after_report()
        chars = self._uncounted_chars + sum(len(text) for _, text in texts)
        if self.spent_tokens + max(_NEAR_TOKENS, _TOKENS_PER_CHAR_MAX * chars) < limit_tokens:
            return True
        further = sum(self._count(text) for _, text in texts)
        self.wanted_tokens = self._spent(self._recount()) + further
        return self.wanted_tokens <= limit_tokens

    def received_tokens(self) -> int:
        """Output tokens received: the provider's figure if there is one, else counted exactly."""
        consumed = self.consumed()
        return self._recount() if consumed is None else consumed.output_tokens

    def _recount_all(self) -> int:
        """All text that was received."""
        waiting = sum(self._count(text) for _, text in self._after_report)
        return self._recount() + waiting

    def _recount(self) -> int:
        if self._passed:
            self._add_passed()
        self.known_tokens = sum(counter.total() for counter in self._counters.values())
        self._uncounted_chars = 0
        return self.known_tokens

    def delivered_tokens(self) -> int:
        """Output tokens that were handed to the client, counted as the received ones are."""
        self._add_passed()
        waiting: dict[str, list[str]] = {}
        for _, channel, text in self._undelivered:
            waiting.setdefault(channel, []).append(text)
        held_back = sum(self._count("".join(texts)) for texts in waiting.values())
        return max(0, self.received_tokens() - held_back)

    @property
    def has_output(self) -> bool:
        """Whether anything was generated."""
        return bool(self.has_media or self._counters or self._after_report) or (
            self.reported is not None and self.reported.output_tokens > 0
        )
