"""The Embedding page in each of its states, without a browser."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field, replace

import numpy as np
from page_checks import opened, words
from stage_samples import put
from streamlit.testing.v1 import AppTest

from scripts.bundled_run import REQUEST
from snapvit.errors import InputError
from snapvit.pipeline import workspace
from snapvit.pipeline.results import StoredRun
from snapvit.pipeline.stages.embedding_projection import EMBEDDING_PROJECTION, SHIPPED
from snapvit.store.store import Store
from snapvit.ui.embedding.neighbour_panel import LISTED
from snapvit.ui.embedding.neighbours import NEWLY_WRONG, STILL_RIGHT
from snapvit.ui.embedding.projection_view import ALL_CLASSES, ALL_IMAGES, projection_table, shown, view_of
from snapvit.ui.resources import jobs

RUN = REQUEST.run


def without_maps(store: Store) -> None:
    for pair in SHIPPED:
        store.forget(RUN, [EMBEDDING_PROJECTION.entry_name(pair)])


def numbers(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def test_the_shipped_map_is_there_at_the_first_visit(shipped):
    app = opened("pages/embedding.py", s="0.65")
    text, found = words(app), StoredRun.open(shipped, RUN).load(EMBEDDING_PROJECTION, 0.65, 0.5)
    assert "not computed yet" not in text
    truth = found.labels[found.gallery :]
    view = view_of(found, (0.65, 0.5), ())
    newly_wrong = int(((view.before == truth) & (view.after != truth)).sum())
    assert numbers(app)["Newly wrong"] == f"{newly_wrong:,}"
    assert numbers(app)["Neighbours kept"] == f"{view.stayed.mean():.1f}"
    assert "Nothing is selected, so this is an example" in text
    assert "Neighbours in the full model" in text


def test_another_sparsity_offers_its_map_and_shows_no_other_cut_s_numbers(shipped):
    """The symptom: 80 % was chosen, and the accuracy of the cut at 95 % stood below."""
    app = opened("pages/embedding.py", s="0.8")
    assert "The features of the cut at **80 %** are not computed yet" in words(app)
    assert not app.metric
    assert app.query_params["s"] == "0.8"
    assert app.button(key="compute_projection").disabled is False
    app.button(key="cut_0.65").click().run()
    assert "not computed yet" not in words(app)
    assert app.slider[0].value == 65


def test_where_nobody_chose_a_cut_it_is_a_computed_one(shipped):
    app = opened("pages/embedding.py")
    assert app.slider[0].value == 65
    assert app.query_params["s"] == "0.65"
    assert "not computed yet" not in words(app)
    assert "not computed yet" in words(opened("pages/embedding.py", s="0.5")), "asked for, it stays"


def test_without_any_map_it_says_what_would_be_computed(shipped):
    without_maps(shipped)
    app = opened("pages/embedding.py", s="0.65")
    assert "not computed yet" in words(app)
    assert app.button(key="compute_projection").disabled is False
    assert not app.metric


def test_without_a_ranking_it_says_so(shipped):
    shipped.forget(RUN, ["ranking"])
    assert "no ranking yet" in words(opened("pages/embedding.py", s="0.65"))


@dataclass(frozen=True)
class Waiting:
    """Work that lasts until the test lets it go."""

    go_on: threading.Event = field(compare=False)
    run: str = RUN
    label: str = "Waiting"
    brief: bool = True

    def perform(self, bench: object) -> None:
        self.go_on.wait(60)


def test_while_it_waits_and_after_it_is_cancelled(shipped):
    without_maps(shipped)
    go_on = threading.Event()
    app = opened("pages/embedding.py", s="0.65")
    jobs().submit(Waiting(go_on))
    app.button(key="compute_projection").click().run()
    assert "Projecting the features of the cut at 65 %: waiting for the job before it" in words(app)
    assert "The features of the cut at **65 %** are not computed yet" in words(app)
    assert app.button(key="cancel_2").disabled is False
    app.button(key="cancel_2").click().run()
    go_on.set()
    jobs().close()
    app.run()
    assert "not computed yet" in words(app)


def test_a_failure_is_told_in_its_sentence_and_can_be_tried_again(shipped, monkeypatch):
    without_maps(shipped)

    def gone(*_: object, **__: object) -> None:
        raise InputError("The image folder /nowhere/at/all does not exist.")

    monkeypatch.setattr(workspace, "open_images", gone)
    app = opened("pages/embedding.py", s="0.65")
    app.button(key="compute_projection").click().run()
    jobs().close()  # waits for the end
    app.run()
    assert "Projecting the features of the cut at 65 % did not work." in words(app)
    assert "/nowhere/at/all" in words(app)
    assert app.button(key="compute_projection").disabled is False


def test_the_address_opens_an_image_and_lists_follow_the_filter(shipped):
    found = StoredRun.open(shipped, RUN).load(EMBEDDING_PROJECTION, 0.65, 0.5)
    view = view_of(found, (0.65, 0.5), ())
    image = int(view.query_ids()[np.flatnonzero(view.outcome == NEWLY_WRONG)[3]])
    app = opened("pages/embedding.py", s="0.65", image=str(image), only="newly wrong")
    assert f"{view.stayed[view.query_of(image)]} of 20** neighbours stay" in words(app)
    listed = app.selectbox(key="query_list")
    assert len(listed.options) == min(LISTED, (view.outcome == NEWLY_WRONG).sum())
    assert listed.value == image
    assert all(" → " in option for option in listed.options)
    other = int(view.query_ids()[np.flatnonzero(view.outcome == NEWLY_WRONG)[5]])
    app.selectbox(key="query_list").set_value(other).run()
    assert app.query_params["image"] == str(other)
    assert next(n for n in app.number_input if n.label == "Image number").value == other


def test_the_list_of_all_queries_is_short_but_holds_the_selected_one(shipped):
    view = view_of(StoredRun.open(shipped, RUN).load(EMBEDDING_PROJECTION, 0.65, 0.5), (0.65, 0.5), ())
    image = int(view.query_ids()[view.stayed.argmax()])  # those with the fewest neighbours left come first
    listed = opened("pages/embedding.py", s="0.65", image=str(image)).selectbox(key="query_list")
    assert len(listed.options) == LISTED + 1
    assert listed.value == image


def test_a_gallery_image_and_one_of_neither_part_say_what_they_are(shipped):
    found = StoredRun.open(shipped, RUN).load(EMBEDDING_PROJECTION, 0.65, 0.5)
    row = 17
    asked = sum(row in neighbours for neighbours in found.full_neighbours.tolist())
    text = words(opened("pages/embedding.py", s="0.65", image=str(found.ids[row])))
    assert "is in the gallery" in text
    assert f"**{asked} queries** in the full model" in text
    outside = next(i for i in range(10_000) if i not in set(found.ids.tolist()))
    assert "neither in the gallery nor a query" in words(opened("pages/embedding.py", s="0.65", image=str(outside)))
    assert "neither in the gallery nor a query" in words(opened("pages/embedding.py", s="0.65", image="123456"))


def test_unlabelled_images_show_neighbours_without_classes_or_answers(shipped):
    store = shipped
    found = StoredRun.open(store, RUN).load(EMBEDDING_PROJECTION, 0.65, 0.5)
    put(store, RUN, EMBEDDING_PROJECTION, replace(found, labels=None), 0.65, 0.5)
    app = opened("pages/embedding.py", s="0.65")
    text = words(app)
    assert "The images have no labels" in text
    assert "Newly wrong" not in numbers(app)
    assert "Neighbours after the 65 % cut" in text
    assert not [box for box in app.selectbox if box.key == "class"]


def test_the_filters_show_what_they_say(shipped):
    found = StoredRun.open(shipped, RUN).load(EMBEDDING_PROJECTION, 0.95, 0.8)
    names = tuple(f"class {i}" for i in range(10))
    view = view_of(found, (0.95, 0.8), names)
    assert shown(view, ALL_CLASSES, ALL_IMAGES).all()
    mask = shown(view, "class 3", "still right")
    for row in range(len(found.ids)):
        query = row - found.gallery
        want = query >= 0 and found.labels[row] == 3 and view.outcome[query] == STILL_RIGHT
        assert mask[row] == want
    assert shown(view, ALL_CLASSES, "gallery").sum() == 6000
    assert shown(view, "class 0", "queries").sum() == (found.labels[6000:] == 0).sum()


def test_the_table_has_every_image_with_its_own_row(shipped):
    found = StoredRun.open(shipped, RUN).load(EMBEDDING_PROJECTION, 0.65, 0.5)
    view = view_of(found, (0.65, 0.5), tuple(f"class {i}" for i in range(10)))
    table = projection_table(view).set_index("Image")
    assert len(table) == 8000
    for row in (0, 5999, 6000, 7999):
        line = table.loc[int(found.ids[row])]
        assert line["Class"] == f"class {found.labels[row]}"
        assert line["UMAP 1, cut"] == found.cut_layout[row, 0]
        assert line["Part"] == ("gallery" if row < 6000 else "query")
        if row >= 6000:
            assert line["Named by cut"] == f"class {view.after[row - 6000]}"
            assert re.fullmatch("(still|newly) (right|wrong)", line["Outcome"])
