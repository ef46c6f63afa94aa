"""The report: what it says, that nothing in it comes from elsewhere, and what cannot be reported."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from command_line import Cli
from page_checks import opened

from snapvit.errors import InputError
from snapvit.evaluation.knn import wilson_interval
from snapvit.formats import percent
from snapvit.pipeline.comparing import compare_rankings
from snapvit.pipeline.contenders import Contender
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.results import load_results
from snapvit.pipeline.stages.ranking import RANKING
from snapvit.report.page import Page
from snapvit.report.report import report_of, write_report


class Words(HTMLParser):
    """Text and references of a page, scripts aside."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.words, self.links, self._inside, self.headings = [], [], "", []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self._inside = tag
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "action")]

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "h2":
            self.headings.append(data)
        if self._inside not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


def test_it_says_what_was_measured(finished, small_request):
    results = load_results(finished, small_request.run)
    for correct, table in ((False, results.as_cut), (True, results.corrected)):
        read = Words(report_of(replace(results, correct=correct), (0.95, 0.8)))
        m = table.find(0.95, 0.8)
        low, high = wilson_interval(m.hits, m.queries)
        assert f"k-NN top-1 is {percent(m.top1)} (95 % interval {percent(low)} to {percent(high)})" in read.text
        assert small_request.run in read.text and "local curvature times the factor" in read.text
        assert read.headings == ["What each cut costs", "What stays", "How it was made"]
        for setting in ("search.generations", "evaluation.queries", "floors.heads", "ranking.method"):
            assert setting in read.text
        assert "torch2" in read.text.replace(" ", "")


def test_it_needs_nothing_from_elsewhere(finished, small_request):
    content = report_of(load_results(finished, small_request.run), (0.5, 0.35))
    assert not Words(content).links
    assert content.count("Plotly.newPlot") >= 3 and "plotly.js v" in content, "the library is inside"
    assert len(re.findall(r"plotly\.js v\d", content)) <= 2, "and only once"
    assert "is not measured" in Words(content).text, "three points were measured, and 50 % is none of them"


def test_a_cut_beside_the_path_is_said_to_be_none_of_it(finished, small_request):
    read = Words(report_of(load_results(finished, small_request.run), (0.8, 0.2)))
    assert "without 80 % of its neurons and 20 % of its heads" in read.text
    assert "The cut of this report is not on it." in read.text


def test_rivals_are_in_it_with_their_intervals(finished, small_request):
    contenders = [Contender("snapvit"), Contender("random"), Contender.parse("snapvit search.generations=2")]
    compare_rankings(finished, small_request.run, contenders, 1, Reporter())
    read = Words(report_of(load_results(finished, small_request.run), (0.95, 0.8)))
    assert "Against other rankings" in read.headings
    assert re.search(r"By the area under the curve of accuracy against MACs, SnapViT is .*Random", read.text)
    assert re.search(r"Random ?[+-]\d+\.\d \[[+-]\d+\.\d, [+-]\d+\.\d\]", read.text)
    assert "SnapViT, 2 generations" not in read.text and "searches of other lengths (1)" in read.text


def test_words_are_text_whatever_they_are():
    page = Page("<script>alert(1)</script>")
    for words in ("<img src=x onerror=alert(1)>", "a & b", '"quoted"'):
        page.text(words)
        page.table([words], [[words]])
        page.listing(words)
        page.heading(words)
    content = page.write()
    assert "<img" not in content and "<script>alert" not in content and "a &amp; b" in content
    assert not Words(content).links


def test_the_command_writes_it_and_refuses_what_cannot_be(command: Cli, small_request, tmp_path: Path):
    out, run = tmp_path / "report.html", small_request.run
    card = tmp_path / "export"
    card.mkdir()
    (card / "README.md").write_text("# The card of <b>this</b> model")
    found, _ = command.json("report", run, "--out", str(out), "--mlp", "95%", "--heads", "0.8", "--export", str(card))
    assert out.stat().st_size == found["bytes"] > 1_000_000
    read = Words(out.read_text(encoding="utf-8"))
    assert "The exported model" in read.headings and "# The card of <b>this</b> model" in read.text
    for words, told in (
        (["--out", str(tmp_path / "r.html"), "--mlp", "0.5"], "give --mlp and --heads together"),
        (["--out", str(out)], "exists; name another file, or replace it with --force"),
        (["--out", str(tmp_path / "no" / "r.html")], "cannot be written"),
        (["--out", str(tmp_path / "r.html"), "--export", str(tmp_path)], "so it is no export"),
    ):
        code, _, err = command("report", run, *words)
        assert code == 2 and told in err
    assert command("report", run, "--out", str(out), "--force")[0] == 0


def test_a_run_without_a_ranking_has_nothing_to_report(finished, small_request, tmp_path):
    finished.forget(small_request.run, [RANKING.name])
    with pytest.raises(InputError, match="nothing to report; finish it first"):
        write_report(finished, small_request.run, tmp_path / "r.html")


def test_the_export_page_offers_it(shown):
    app = opened("pages/export.py", s="0.65")
    assert any(button.proto.label == "Report (HTML, 5 MB)" for button in app.get("download_button"))
