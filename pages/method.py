"""The method as a lesson in steps, taught with the selected run's own numbers."""

from snapvit import ui
from snapvit.ui.method.following import Lesson
from snapvit.ui.method.steps import steps_of
from snapvit.ui.method.walk import show_lesson

selection = ui.open_page("Method")


def start(whole: bool) -> Lesson:
    """What the steps are drawn from; ends the page where the run has nothing to teach from."""
    results = ui.results_with(
        "taught",
        selection,
        "This page follows a run through its method from the first step on: the local curvature, or the scores of a "
        "ranking without a search. This run has none: it has not come so far, or its ranking is from published scores.",
    )
    return Lesson(results, selection, whole)


show_lesson(steps_of(ui.chosen_results(selection.run, selection.correct) if selection.run else None), start)
