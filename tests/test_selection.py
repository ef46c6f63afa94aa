"""One selection everywhere: in words, in the sidebar's links, and each page's own settings when one comes back."""

from __future__ import annotations

import pytest
from page_checks import PAGES, opened
from streamlit.testing.v1 import AppTest

from snapvit.ui.selection import Selection, Structure

pytestmark = pytest.mark.usefixtures("shipped")


def sidebar(app: AppTest) -> str:
    return "\n".join(element.value for element in app.sidebar.markdown)


def links(app: AppTest) -> list[str]:
    return [link.proto.query_string for link in app.sidebar.get("page_link")]


def test_words_name_what_is_selected() -> None:
    assert Selection().words == "Sparsity 50 %"
    whole = Selection(sparsity=0.655, structure=Structure(2, 3), other=Structure(4), image=812)
    assert whole.words == "Sparsity 65.5 %, block 3 head 4 with block 5 MLP, image 812"
    assert Selection(image=0).words == "Sparsity 50 %, image 0"


@pytest.mark.parametrize("page", PAGES)
def test_every_page_says_what_is_selected_and_hands_it_on(page: str) -> None:
    app = opened(page, s="0.65", at="3-4", image="812")
    assert "Sparsity 65 %, block 3 head 4, image 812" in sidebar(app)
    assert len(links(app)) >= len(PAGES)
    for query in links(app):
        assert {"s=0.65", "at=3-4", "image=812"} <= set(query.split("&"))


def test_links_and_the_words_follow_a_slider() -> None:
    app = opened("pages/heads.py", s="0.4")
    app.slider[0].set_value(65.0).run()
    assert "Sparsity 65 %" in sidebar(app)
    assert all("s=0.65" in query.split("&") for query in links(app))
    assert app.query_params["s"] == "0.65"


def test_structure_and_image_are_cleared() -> None:
    app = opened("pages/method.py", s="0.65", at="3-4", image="812")
    next(b for b in app.sidebar.button if b.label == "Clear structure").click().run()
    assert "Sparsity 65 %, image 812" in sidebar(app)
    assert "at" not in app.query_params
    next(b for b in app.sidebar.button if b.label == "Clear image").click().run()
    assert sidebar(app).endswith("Sparsity 65 %")
    assert "image" not in app.query_params
    assert not [b for b in app.sidebar.button if b.label.startswith("Clear")]


def test_a_timer_s_old_address_brings_nothing_back() -> None:
    """A rerun by a timer carries the address of a moment ago; it once undid what had just been cleared."""
    app = opened("pages/heads.py", s="0.65", at="3-4", image="812")
    old = dict(app.query_params)
    next(b for b in app.sidebar.button if b.label == "Clear structure").click().run()
    app.query_params.clear()
    for name, value in old.items():
        app.query_params[name] = value
    app.run()
    assert "Sparsity 65 %, image 812" in sidebar(app)
    assert "at" not in app.query_params


def test_choosing_on_the_method_page_changes_the_selection() -> None:
    app = opened("pages/method.py", s="0.65", step="all")
    app.selectbox(key="followed_head").set_value((2, 3)).run()
    app.selectbox(key="lesson_image").set_value(9554).run()
    app.slider(key="sparsity_of_the_cut").set_value(40.0).run()
    assert not app.exception
    assert "Sparsity 40 %, block 3 head 4, image 9554" in sidebar(app)
    assert (app.query_params["at"], app.query_params["image"]) == ("3-4", "9554")


def test_a_page_s_own_setting_is_in_the_address() -> None:
    app = opened("pages/method.py", step="factors", of_generation="7")
    app.selectbox(key="of_rank").set_value("3").run()
    assert (app.query_params["of_generation"], app.query_params["of_rank"]) == ("7", "3")
    assert all("of_rank" not in query for query in links(app)), "it stays on its page"


def test_a_page_s_own_setting_is_found_again_on_coming_back() -> None:
    app = opened("pages/method.py", step="factors")
    app.selectbox(key="of_generation").set_value("7").run()
    app.switch_page("pages/heads.py")
    app.query_params.clear()
    app.run()
    assert "of_generation" not in app.query_params
    app.switch_page("pages/method.py")
    app.query_params.clear()
    app.run()
    assert app.selectbox(key="of_generation").value == "7"
    assert (app.query_params["step"], app.query_params["of_generation"]) == ("factors", "7")


SHOWN = [
    ("pages/sparsity.py", {"s": "0.65", "mode": "ratios", "heads": "20"}),
    ("pages/heads.py", {"s": "0.65", "at": "3-4", "image": "9554", "look": "rollout"}),
    ("pages/cka.py", {"at": "3-4", "with": "5-mlp", "show": "mlp"}),
    ("pages/correlation.py", {"g": "7", "view_g": "change", "order_g": "cluster"}),
    ("pages/embedding.py", {"s": "0.65", "image": "9554", "class": "Shirt"}),
    ("pages/export.py", {"s": "0.65", "mode": "ratios", "heads": "20"}),
    ("pages/method.py", {"s": "0.65", "at": "3-4", "step": "all", "of_generation": "7", "of_rank": "3"}),
]


@pytest.mark.parametrize(("page", "query"), SHOWN)
def test_every_run_sends_what_its_widgets_show(page: str, query: dict[str, str]) -> None:
    """The symptom: a run that followed before the browser had drawn a box drew it empty, and the next click brought
    that as the person's choice: *Clear structure* cleared the image too, and the sparsity went to 0."""
    app = opened(page, **query)
    for _ in range(2):
        seen = 0
        for box in app.selectbox:
            assert box.proto.HasField("default") == (box.value is not None), box.label
            if box.value is not None:
                assert box.proto.options[box.proto.default] == str(box.format_func(box.value)), box.label
                seen += 1
        for slider in app.slider:
            assert list(slider.proto.default) == [slider.value], slider.label
        for box in (*app.number_input, *app.text_input):
            assert box.proto.default == box.value, box.label
        for group in app.segmented_control:
            (chosen,) = group.proto.default
            assert group.options[chosen] == group.format_func(group.value), group.label
        assert seen
        app.run()
