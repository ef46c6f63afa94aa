"""The reference builds from docstrings, describes the front door, and has no dead link; a planted one is found."""

from __future__ import annotations

from scripts.reference import build, dead_links, modules


def test_the_front_doors_reference_is_whole(tmp_path):
    build(tmp_path, ["snapvit", "snapvit.notebook", "snapvit.errors", "snapvit.artifacts"])
    assert not [link for link in dead_links(tmp_path) if "snapvit/" not in link], "links to rooms that are not built"
    door = (tmp_path / "snapvit.html").read_text()
    assert all(f'id="{name}"' in door for name in ("open", "run", "runs", "load_exported"))
    page = (tmp_path / "snapvit" / "notebook" / "run.html").read_text()
    assert all(f'id="Run.{name}"' in page for name in ("cut", "compare", "interactions", "export", "report", "figures"))


def test_every_room_but_the_dashboards_is_documented():
    found = modules()
    assert {"snapvit", "snapvit.artifacts", "snapvit.method", "snapvit.notebook"} <= set(found)
    assert not {"snapvit.ui", "snapvit.server", "snapvit.__main__", "snapvit.__init__"} & set(found)


def test_dead_links_are_found_and_living_ones_are_not(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "b.html").write_text('<a id="there" href="../a.html#top">up</a>')
    (tmp_path / "a.html").write_text(
        '<h1 id="top"></h1><a href="#top">1</a><a href="inner/b.html#there">2</a><a href="https://example.org/x">3</a>'
        '<a href="#nowhere">4</a><a href="c.html">5</a><a href="inner/b.html#gone">6</a><img src="missing.png">'
    )
    assert dead_links(tmp_path) == [
        f"a.html: {link} leads nowhere" for link in ("#nowhere", "c.html", "inner/b.html#gone", "missing.png")
    ]
