"""Widgets whose value may also come from elsewhere: what they show, and whose choice counts."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def page() -> None:
    import streamlit as st

    from snapvit.ui.controlled import controlled

    def choose(value: int) -> None:
        st.session_state["chosen"] = value

    st.session_state.setdefault("chosen", 3)
    arguments = controlled("box", st.session_state["chosen"], choose)
    st.session_state.setdefault("callbacks", []).append(arguments["on_change"])
    st.number_input("Box", 0, 9, **arguments)
    st.button("Seven", on_click=choose, args=(7,))


def opened() -> AppTest:
    return AppTest.from_function(page).run()


def test_a_choice_is_heard_and_keeps_the_widget() -> None:
    app = opened()
    for value in (4, 5):
        app.number_input[0].set_value(value).run()
        assert app.session_state["chosen"] == app.number_input[0].value == value
        assert app.number_input[0].key == "box"


def test_a_value_from_elsewhere_makes_a_new_widget_that_is_heard_in_turn() -> None:
    app = opened()
    app.number_input[0].set_value(4).run()
    app.button[0].click().run()
    assert app.number_input[0].value == 7
    assert app.number_input[0].key != "box"
    app.number_input[0].set_value(2).run()
    assert app.session_state["chosen"] == app.number_input[0].value == 2


def test_a_widget_of_the_page_before_is_not_heard() -> None:
    """A message of the old page may arrive when the new one has already let go of its widgets."""
    app = opened()
    del app.session_state["box"]
    app.session_state["callbacks"][0]()
    assert app.session_state["chosen"] == 3


def test_a_widget_that_is_gone_is_not_heard() -> None:
    """A timer's rerun may bring the value of a widget that was replaced; it once passed for a choice."""
    app = opened()
    app.button[0].click().run()
    app.session_state["callbacks"][0]()
    assert app.session_state["chosen"] == 7
