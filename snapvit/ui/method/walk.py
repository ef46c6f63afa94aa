"""The Method page as a lesson: its steps, one at a time with an address each, or all on one page for printing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from snapvit.private_names import MAIN, STACK
from snapvit.ui.glossary import page_title, whole_glossary
from snapvit.ui.method.following import Lesson
from snapvit.ui.selection import put_setting, setting

STEP, WHOLE = "step", "all"  # the setting in the address, and its value for the long form
PAPER = f"""
/* As wide as an A4 page in portrait, so that figures have the size on the screen that they have on paper. */
{MAIN} > {STACK} {{ max-width: 44rem; }}
.flow .arrow {{ display: none; }}
.flow .step {{ flex-basis: 45%; }}
"""


@dataclass(frozen=True)
class Step:
    """One screen of the lesson."""

    name: str  # in the address
    title: str
    draw: Callable[[Lesson], None]
    terms: tuple[str, ...] = ()  # that its text uses


def show_lesson(steps: Sequence[Step], start: Callable[[bool], Lesson]) -> None:
    """Draw the chosen step with ways to the others, or all steps; `start` makes what they are drawn from."""
    names = [step.name for step in steps]
    chosen = setting(STEP, [*names, WHOLE], names[0])
    if chosen == WHOLE:
        _all(steps, start)
        return
    at = names.index(chosen)
    page_title(steps[at].title, steps[at].terms)
    lesson = start(False)
    _controls(steps, at)
    with st.container(key="lesson_step"):
        steps[at].draw(lesson)


def _all(steps: Sequence[Step], start: Callable[[bool], Lesson]) -> None:
    page_title(steps[0].title, tuple(sorted({term for step in steps for term in step.terms})))
    lesson = start(True)
    st.html(f"<style>{PAPER}</style>")
    with st.container(horizontal=True, vertical_alignment="center", key="steps"):
        st.button("One step at a time", icon=":material/slideshow:", on_click=_go, args=(steps[0].name,), key="by_step")
        st.caption("As it goes on paper: print it with your browser.")
    for i, step in enumerate(steps):
        if i:
            st.header(step.title, anchor=step.name)
        step.draw(lesson)
    st.header("Glossary", anchor="glossary")
    whole_glossary()


def _controls(steps: Sequence[Step], at: int) -> None:
    """Back and next, also by the arrow keys; how far one is; a list of all steps."""
    before, after = steps[max(0, at - 1)], steps[min(len(steps) - 1, at + 1)]
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="steps"):
        st.button("Back", shortcut="Left", on_click=_go, args=(before.name,), disabled=at == 0, key="step_back")
        last = at == len(steps) - 1
        st.button(
            "Next", shortcut="Right", on_click=_go, args=(after.name,), disabled=last, key="step_next", type="primary"
        )
        # Another key for each step, so that the list is closed again when one was chosen in it.
        with st.popover(f"{at + 1} of {len(steps)}", icon=":material/list:", key=f"step_list_{at}"):
            for i, step in enumerate(steps):
                kind = "secondary" if i == at else "tertiary"
                key = f"go_{step.name}"
                st.button(step.title, type=kind, on_click=_go, args=(step.name,), key=key)
            st.divider()
            st.button("All on one page, to print", icon=":material/print:", on_click=_go, args=(WHOLE,), key="go_all")
        st.progress((at + 1) / len(steps), width="stretch")


def _go(name: str) -> None:
    put_setting(STEP, name)
