"""The output meter: received, delivered and reported, by one counter."""

from __future__ import annotations

from collections.abc import Mapping

from engine.events import MediaDelta, Usage, UsageReport, read_count
from engine.metering.limits import UsageLimits
from engine.metering.tokens import counter_for
from engine.metering.usage import OutputMeter
from engine.usage import MoreUnit

COUNT = counter_for("o200k_base")


def test_channels_are_counted_apart() -> None:
    meter = OutputMeter(COUNT)
    for position, (left, right) in enumerate(zip("beautiful", "wonderful", strict=True), start=1):
        meter.add("0.content", left, position)
        meter.add("1.content", right, position)
    assert meter.received_tokens() == COUNT("beautiful") + COUNT("wonderful")


def test_delivered_lags_by_what_the_client_has_not_taken() -> None:
    meter = OutputMeter(COUNT)
    for index in range(1, 11):
        meter.add("0.content", " word", index * 100)
    meter.delivered_to(699)
    assert (meter.received_tokens(), meter.delivered_tokens()) == (10, 6)
    meter.delivered_to(1_000)
    assert meter.delivered_tokens() == 10


def test_the_providers_figure_wins() -> None:
    meter = OutputMeter(COUNT)
    meter.add("0.content", " word", 5)
    meter.reported = Usage(input_tokens=7, output_tokens=40, reasoning_tokens=39)
    assert meter.received_tokens() == 40
    assert meter.delivered_tokens() == 39
    meter.delivered_to(5)
    assert meter.delivered_tokens() == 40


def test_fits_is_exact_near_the_limit() -> None:
    meter = OutputMeter(COUNT)
    meter.add("0.content", " word" * 99, 1)
    assert meter.fits([("0.content", " word")], 100)
    assert not meter.fits([("0.content", " word word")], 100)


def test_what_is_known_keeps_up_near_the_limit() -> None:
    meter = OutputMeter(COUNT)
    for position in range(500):
        assert meter.fits([("0.content", " word")], 1_000)
        meter.add("0.content", " word", position)
    assert meter.known_tokens >= 499


def test_absurd_figures_are_no_counts() -> None:
    assert [read_count(v) for v in (3, 0, -1, True, "7", 2.5, None, 2**60)] == [3, 0] + [0] * 6


def test_parts_never_exceed_their_wholes() -> None:
    usage = Usage(
        10, cached_input_tokens=50, cache_write_tokens=9, output_tokens=5, reasoning_tokens=8
    )
    assert usage.clamped() == Usage(10, 10, 0, 5, 5)


def test_pictures_are_counted_where_they_are_asked_for() -> None:
    picture = MediaDelta("image", "image/png", "iVBORw0KGgo=")
    cases: list[Mapping[MoreUnit, int]] = [{}, {"images": 2}, {"images": 1}]
    for more_max in cases:
        meter = OutputMeter(COUNT)
        meter.limits = UsageLimits(100, 100, more_max)
        meter.take_figures([picture, picture, UsageReport(Usage(5, output_tokens=7))])
        assert meter.reported == Usage(5, output_tokens=7, more=more_max)
        assert meter.has_output
        assert bool(meter.flags) == (more_max == {"images": 1}), "there were more"
