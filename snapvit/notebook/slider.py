"""The dashboard's live slider as a widget: the same component, drawn by the same scripts."""

from __future__ import annotations

import itertools
import json
import math

import traitlets
from anywidget import AnyWidget
from ipywidgets import register

from snapvit.browser import FOLDER, SCRIPTS, modules_of
from snapvit.browser.live_sparsity import CSS, HTML, LiveSparsity, payload
from snapvit.errors import InputError
from snapvit.formats import ratio

LOADER, ENTRY = "notebook/loader.js", "notebook/slider.js"


def _hidden(kind: type[traitlets.TraitType], **given: object) -> traitlets.TraitType:
    """A value that the browser has too, and that is nothing for people."""
    return kind(**given).tag(sync=True)


@register
class SparsitySlider(AnyWidget):
    """The live slider of a run. Everything in it follows the thumb while it is held; Python hears of its release.

    `at` is where the thumb is, a sparsity of the path, in [0, 0.95]; setting it moves the thumb, to the nearest of its
    steps of half a percent, in every place where the widget is shown. `mlp` and `heads` are the shares of neurons and
    heads that go there, as `Run.cut` takes them. `observe(function, "at")` hears of every change.

    Without a kernel, in a notebook that was stored, it moves as well.
    """

    at = traitlets.Float(0.0)
    mlp = traitlets.Float(0.0, read_only=True)
    heads = traitlets.Float(0.0, read_only=True)

    _esm = (SCRIPTS / LOADER).read_text(encoding="utf-8")
    _modules = _hidden(traitlets.Dict)
    _entry = _hidden(traitlets.Unicode, default_value=ENTRY)
    _html = _hidden(traitlets.Unicode, default_value=HTML)
    _css = _hidden(traitlets.Unicode, default_value=(FOLDER / "notebook.css").read_text(encoding="utf-8") + CSS)
    _data = _hidden(traitlets.Unicode)  # as JSON: a stored notebook has a line a number of what is not text
    # Set by whoever moves the thumb, Python or a browser; a turn that a browser has not seen yet is a move to obey.
    _thumb = _hidden(traitlets.Dict)

    def __init__(self, live: LiveSparsity, at: float, file: str) -> None:
        """`Run.slider` makes it. file: how the names of saved pictures begin."""
        self._live, self._turns = live, itertools.count(1)
        super().__init__(_modules=modules_of(ENTRY), _data=json.dumps(payload(live) | {"file": file}), at=at)
        self._place(None)

    @traitlets.validate("at")
    def _step(self, proposal: traitlets.Bunch) -> float:
        last = self._live.steps[-1].sparsity
        if not math.isfinite(proposal.value) or not 0 <= proposal.value <= last:
            raise InputError(f"The slider goes from 0 to {last:g}, so it cannot be set to {proposal.value:g}.")
        return self._live.snap(proposal.value)

    @traitlets.observe("at")
    def _place(self, _: object) -> None:
        step = next(step for step in self._live.steps if step.sparsity == self.at)
        with self.hold_trait_notifications():  # who hears of one finds the other as it is now
            self.set_trait("mlp", step.mlp)
            self.set_trait("heads", step.heads)
        if self._thumb.get("value") != self.at:
            self._thumb = {"value": self.at, "turn": f"python {next(self._turns)}"}

    @traitlets.observe("_thumb")
    def _released(self, change: traitlets.Bunch) -> None:
        self.at = float(change.new["value"])

    def __repr__(self) -> str:
        return f"SparsitySlider at {ratio(self.at)}: {ratio(self.mlp)} of neurons, {ratio(self.heads)} of heads removed"
