"""What every page begins with: its set-up, the menu, the choice of a run and the state of the current job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import streamlit as st

from snapvit.pipeline.results import FINISHED, FORMER, IMPORTED, RunResults, RunSummary, list_runs
from snapvit.ui.controlled import controlled
from snapvit.ui.job_panel import announced, failed_run, job_chip, tell_finished, wave_away
from snapvit.ui.names import as_markdown, shortened
from snapvit.ui.page_style import page_style
from snapvit.ui.presenting import page_tools, presenting_tools
from snapvit.ui.published import what_scores_lack
from snapvit.ui.resources import chosen_results, store
from snapvit.ui.run_titles import missing_of, run_label, run_titles
from snapvit.ui.selection import Selection, change, current

LONGEST = 80  # characters of a run's name from an address
OFFERED = 5  # runs that are offered in the place of one that is not here
# A file of our own: an emoji or a Material symbol would be fetched from the network.
ICON = Path(__file__).parents[1] / "assets" / "icon.png"

# file, label, icon, and what one goes there for
PAGES = (
    ("app.py", "Run", ":material/play_circle:", "Choose a model, start a run, watch it"),
    ("pages/sparsity.py", "Sparsity", ":material/tune:", "Drag a slider, see what each cut costs"),
    ("pages/heads.py", "Heads and neurons", ":material/grid_view:", "What matters, what goes first, where it looks"),
    ("pages/cka.py", "CKA", ":material/grid_on:", "Which structures say the same"),
    (
        "pages/correlation.py",
        "Correlation",
        ":material/timeline:",
        "How structures depend on one another: estimates, and the truth",
    ),
    ("pages/embedding.py", "Embedding", ":material/scatter_plot:", "Where a cut moves the images"),
    ("pages/compare.py", "Compare", ":material/compare_arrows:", "Rival rankings: who is better, by how much"),
    ("pages/export.py", "Export", ":material/output:", "Take the really smaller model along, proven"),
    ("pages/method.py", "Method", ":material/school:", "How the ranking comes about, with this run's own numbers"),
)
# The last part of each one's address; the first page has none.
ADDRESSES = tuple("" if file == "app.py" else Path(file).stem for file, *_ in PAGES)


def open_page(title: str, follow: bool = True) -> Selection:
    """Set the page up and return what is selected. To be called first, by every page.

    Every page shows the running job in the sidebar. One that follows is drawn again whenever the job adds something to
    the run it shows; one that does not has a job panel that does so.

    A page's own address may be the first that a fresh server sees, so nothing here relies on another page.
    """
    st.set_page_config(page_title=f"{title} · SnapViT explorer", page_icon=str(ICON), layout="wide")
    summaries = [summary for summary in list_runs(store()) if summary.state != FORMER]
    tell_finished(show=not follow)
    selection = current(default_run(summaries), title)
    found = selection.run is None or any(summary.run == selection.run for summary in summaries)
    with st.sidebar:
        page_style(selection.present)
        st.markdown("**SnapViT explorer**")
        _menu(selection)
        st.divider()
        _pick_run(summaries, selection)
        if summaries:
            st.markdown(f"**Looking at:** {selection.words}")
            _correction(summaries, selection)
            _clearing(selection)
        job_chip(selection.run if found and follow else None)
        if follow:
            _failure(selection)
        if found and selection.run is not None:
            chosen_results(selection.run, selection.correct)  # read here, so that what is damaged can be named below
        page_tools(selection, ADDRESSES)
        _problems()
    presenting_tools(selection, ADDRESSES)
    announced()
    if found:
        return selection
    _not_here(summaries, selection.run)
    if follow:
        st.stop()
    return replace(selection, run=None)


def default_run(summaries: list[RunSummary]) -> str | None:
    """What is shown where nobody asked for a run: the newest that is finished, else the newest that goes furthest."""
    return max(summaries, key=lambda s: (s.state == FINISHED, len(s.done), s.created)).run if summaries else None


def anything_here() -> bool:
    """Whether the cache holds a run, of this version or of an earlier one."""
    return bool(list_runs(store()))


def _not_here(summaries: list[RunSummary], run: str) -> None:
    """Say that there is no such run, and offer those that there are."""
    former = any(summary.run == run for summary in list_runs(store()))
    why = (
        "was computed by an earlier version of the explorer and can be computed again on the Run page"
        if former
        else ("is not in this cache: it was deleted, or the link is from another computer")
    )
    others = " Nothing of another run is shown in its place; these are here:"
    if not summaries:
        others = " There is no run to show yet; start one on the Run page."
    st.warning(f"Run {as_markdown(shortened(run, LONGEST))} {why}.{others}", icon=":material/link_off:")
    for summary in summaries[:OFFERED]:
        key = f"instead_{summary.run}"
        st.button(as_markdown(run_label(summary)), key=key, on_click=change, kwargs={"run": summary.run})


def results_with(part: str, selection: Selection, missing: str) -> RunResults:
    """Results of the selected run that have `part`, a field of RunResults; else say what to do and end the page."""
    results = chosen_results(selection.run, selection.correct) if selection.run else None
    if results is not None and getattr(results, part) is not None:
        return results
    if results is None:
        missing = (
            "There is no run to show yet. Start one on the Run page, where *Estimate* says how long it takes, or with "
            "`python -m snapvit run`."
        )
    elif results.scores is not None:
        missing = what_scores_lack(results)
    st.info(missing, icon=":material/info:")
    onward("app.py", "Go to the Run page", selection)
    st.stop()


def onward(file: str, label: str, selection: Selection, **settings: str) -> None:
    """A link to another page that takes the selection along, and settings of that page."""
    st.page_link(file, label=label, icon=":material/arrow_forward:", query_params=selection.query() | settings)


def _menu(selection: Selection) -> None:
    """The pages' links, which carry the selection."""
    with st.container(gap="small"):
        for file, label, icon, hint in PAGES:
            st.page_link(file, label=label, icon=icon, help=hint, query_params=selection.query())


def _correction(summaries: list[RunSummary], selection: Selection) -> None:
    """The switch between cuts as they are and cuts with corrected weights; where there are weights."""
    if any(summary.run == selection.run and summary.state != IMPORTED for summary in summaries):
        st.toggle(
            "Correct the weights",
            help="After a cut, the layers that read neurons and heads are solved again on those that stay, so that "
            "their output is as near to the full model's as it can be: in closed form, without labels or training.",
            **controlled("correct", selection.correct, lambda chosen: change(correct=chosen)),
        )


def _clearing(selection: Selection) -> None:
    with st.container(horizontal=True, gap="small", key="clear_selection"):
        if selection.structure is not None or selection.other is not None:
            st.button(
                "Clear structure",
                type="tertiary",
                icon=":material/close:",
                on_click=lambda: change(structure=None, other=None),
            )
        if selection.image is not None:
            st.button("Clear image", type="tertiary", icon=":material/close:", on_click=lambda: change(image=None))


def _pick_run(summaries: list[RunSummary], selection: Selection) -> None:
    if not summaries:
        return
    labels = run_titles(summaries)
    st.selectbox(
        "Run shown",
        list(labels),
        format_func=labels.__getitem__,
        help="The run that all pages show",
        **controlled("run_picker", selection.run, lambda run: change(run=run), list(labels)),
    )
    missing = next((missing_of(summary) for summary in summaries if summary.run == selection.run), None)
    if missing is not None:  # not in the list, which is too narrow for it
        st.caption(f":material/pending: {missing}")


def _failure(selection: Selection) -> None:
    """That the last run failed, for whoever started it and went to another page."""
    job = failed_run()
    if job is not None:
        st.error(f"Run {job.task.run} failed.")
        onward("app.py", "See why, and what is kept", selection)
        st.button("Dismiss", type="tertiary", icon=":material/close:", on_click=wave_away, args=(job,))


def _problems() -> None:
    problems = store().problems
    if problems:
        with st.expander(f"{len(problems)} file(s) could not be used", icon=":material/warning:"):
            st.markdown("\n".join(f"- {as_markdown(sentence)}" for sentence in problems))
