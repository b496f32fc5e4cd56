"""The page: whole, of one file, and everything that was measured is on it."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from bench.report.html import render_html
from bench.report.markdown import render_markdown
from bench.report.numbers import heading
from bench.statistics.rows import rows_of
from bench.suite.model import Report
from bench.suite.scenarios import find_scenario
from tests.bench.report.synthetic import BUSY, HEADER, HOSTILE, SCENARIOS, SEED, TRUTHS, run

CLEAN = HOSTILE.replace("\x07", "\ufffd")


@pytest.fixture(scope="module")
def page() -> str:
    return render_html(*run())


@pytest.fixture(scope="module")
def tree(page: str) -> ET.Element:
    return ET.fromstring(page.removeprefix("<!DOCTYPE html>\n"))


def said(element: ET.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def section(tree: ET.Element, title: str) -> ET.Element:
    found = (each for each in tree.iter("section") if each.findtext("h2") == title)
    return next(found)


class _Balance(HTMLParser):
    """As a browser reads it, not as XML: every element that opens is closed in its place."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.most = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.most = max(self.most, len(self.open))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in {"meta", "line", "circle", "rect", "path", "polygon"}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_for_browsers_too(page: str, tree: ET.Element) -> None:
    balance = _Balance()
    balance.feed(page)
    balance.close()
    assert balance.open == []
    assert balance.most > 5
    assert tree.tag == "html"


def test_nothing_is_fetched_and_nothing_runs(page: str, tree: ET.Element) -> None:
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(e.tag for e in tree.iter())
    references = [
        value
        for element in tree.iter()
        for name, value in element.attrib.items()
        if name in {"src", "href", "style"} or name.startswith("on")
    ]
    assert references
    assert all(re.fullmatch(r"#[a-z0-9-]+", reference) for reference in references)
    assert "url(" not in page
    assert "@import" not in page
    assert "http" not in page


def test_links_lead_somewhere(tree: ET.Element) -> None:
    named = {element.get("id") for element in tree.iter("section")}
    assert {link.get("href", "")[1:] for link in tree.iter("a")} == named


@pytest.mark.parametrize("peer", [peer for peer in TRUTHS if peer != HOSTILE])
def test_every_peer_is_in_the_summary_and_has_its_version(tree: ET.Element, peer: str) -> None:
    assert peer in [said(cell) for cell in section(tree, "Summary").findall(".//thead//th")]
    versions = [said(row) for row in section(tree, "Who was measured").iter("tr")]
    assert any(row.startswith(peer + HEADER.versions[peer]) for row in versions)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_figure_of_a_scenario_has_a_row(tree: ET.Element, scenario: str) -> None:
    title, figures = SCENARIOS[scenario]
    part = section(tree, title[0].upper() + title[1:])
    rows = [row.findtext("th/span") for row in part.iter("tr")]
    assert [heading(figure) for figure in figures] == list(dict.fromkeys(filter(None, rows)))


def test_a_hostile_name_is_text_everywhere(page: str, tree: ET.Element) -> None:
    names = section(tree, "Who was measured").findall(".//th/span")
    assert CLEAN in [name.get("title") for name in names]
    assert CLEAN[:10] in "".join(said(name) for name in names)
    assert "<script" not in page
    assert "<img" not in page
    assert "What I <b>care</b> about" in [link.text for link in tree.iter("a")]


def test_refusals_show_their_reasons(tree: ET.Element) -> None:
    rows = [said(row) for row in section(tree, "Refused, missing and failed").iter("tr")]
    assert f"litellmrefused samples{BUSY}mixed production at 400 tokens/s (4 of 4)" in rows
    assert any(
        re.match(r"directno figurenot seen.*paced streams at 400 tokens/s \(CPU/token\)", row)
        for row in rows
    )
    cells = section(tree, "Summary").findall(".//td/span[@class='reason']")
    said_here = [(cell.get("title"), said(cell)) for cell in cells]
    reason = f"4 of 4 refused: {BUSY}"
    assert (reason, f"—: {reason}") in said_here
    assert ("not seen", "—: not seen") in said_here


def test_a_run_on_a_busy_machine_is_marked(page: str) -> None:
    report, samples = run()
    paced = [each for each in samples if each.scenario == "paced"]
    noisy = [dataclasses.replace(each, refused="") for each in paced]
    warning = f"{sum(bool(each.refused) for each in paced)} of {len(paced)} samples were kept"
    assert warning.startswith("1 of ")
    assert warning in render_html(report, noisy)
    assert warning in " ".join(render_markdown(report, noisy).split())
    assert "samples were kept" not in page


def test_failed_requests_are_told(tree: ET.Element) -> None:
    text = said(section(tree, "Refused, missing and failed"))
    assert "failed requestsstatus 500whole answers (12); paced streams (12)" in text
    assert "failed requests<unanswered>whole answers (4); " in text


def test_cells_are_written_with_interval_ratio_and_load(tree: ET.Element) -> None:
    cells = [said(cell) for cell in section(tree, "Summary").iter("td")]
    assert any(re.fullmatch(r"50\.33\.4×\d\d\.\d–\d\d\.\d", cell) for cell in cells)
    assert any(re.fullmatch(r"1,10475×[\d,]+–[\d,]+at 400 tokens/s", cell) for cell in cells)
    assert "never" in cells


def test_it_says_how_to_do_it_again(tree: ET.Element) -> None:
    text = said(section(tree, "To do it again"))
    assert "parshall bench run --peer nginx --out 'a folder'" in text
    assert str(SEED) in text
    assert "scenario paceddigest 000000000002" in text


def test_what_points_of_drawings_say_is_there(tree: ET.Element) -> None:
    titles = [title.text or "" for title in tree.iter("title")]
    assert any(re.fullmatch(r"nginx: 99% within [\d.]+ ms", title) for title in titles)
    assert any(re.fullmatch(r"litellm: 75×, at 400 tokens/s", title) for title in titles)
    assert any(title.startswith("parshall: 200 streams, ") for title in titles)


def test_a_scenario_says_what_it_is_about_if_it_is_still_the_same() -> None:
    report, _ = run()
    paced = find_scenario("paced")
    header = dataclasses.replace(HEADER, digests={"paced": paced.digest, "unary": "another"})
    page = render_html(dataclasses.replace(report, header=header), [])
    assert paced.about in page
    assert find_scenario("unary").about not in page


def test_rows_as_statistics_give_them_are_shown() -> None:
    report, everything = run()
    samples = [sample for sample in everything if sample.scenario in ("paced", "cancel-storm")]
    rows = rows_of(HEADER, samples, resamples=20)
    concluded = dataclasses.replace(report, rows=rows)
    tree = ET.fromstring(render_html(concluded, samples).removeprefix("<!DOCTYPE html>\n"))
    head, *body = section(tree, "Summary").iter("tr")
    portkey = [said(cell) for cell in head].index("portkey")
    cells = {said(row[0]): said(row[portkey]) for row in body}
    assert re.fullmatch(r"1087\.3×at 4,000 tokens/s", cells["CPU per token, µspaced streams"])
    assert cells["cancel, p50, mscancel storm"] == "—: not within 5 s in 4 of 4 rounds"


def test_a_run_of_nothing_is_still_a_page() -> None:
    report, _ = run()
    bare = dataclasses.replace(HEADER, versions={}, revisions={}, notes={}, titles={}, figures={})
    page = render_html(Report(bare, (), report.samples), [])
    assert "Nothing was refused" in page


def test_what_the_run_noted_is_told() -> None:
    report, samples = run()
    note = "paced: ended early, as the <budget> ends"
    page = render_html(dataclasses.replace(report, notes=(note,)), samples)
    tree = ET.fromstring(page.removeprefix("<!DOCTYPE html>\n"))
    notes = section(tree, "Refused, missing and failed").find("ul")
    assert notes is not None
    assert [said(each) for each in notes] == [note]
