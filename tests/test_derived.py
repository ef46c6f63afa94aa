"""Results computed on request belong to the stages they were computed from, and to no others."""

from __future__ import annotations

import numpy as np
import pytest

from snapvit.artifacts import CkaMap

MAP = CkaMap(np.eye(3, dtype=np.float32), images=7)
CUT = Derived("cka-cut", CkaMap, ("cka", "ranking"))


def test_what_was_saved_is_found_under_its_settings_alone(finished, small_request):
    run = small_request.run
    assert CUT.load(finished, run, 0.5, 0.35) is None
    CUT.save(finished, run, MAP, 1.5, 0.5, 0.35)
    found = CUT.load(finished, run, 0.5, 0.35)
    assert (found.values == MAP.values).all()
    assert found.images == 7
    assert CUT.load(finished, run, 0.5, 0.4) is None
    assert finished.entry(run, "cka-cut-0.5-0.35").seconds == 1.5


def test_a_parent_that_changed_makes_it_vanish(finished, small_request):
    run = small_request.run
    CUT.save(finished, run, MAP, 0.0, 0.5)
    finished.save(run, "cka", "another key", MAP, complete=True, seconds=0.0)
    assert CUT.load(finished, run, 0.5) is None


def test_a_later_version_does_not_read_it(finished, small_request):
    CUT.save(finished, small_request.run, MAP, 0.0, 0.5)
    later = Derived("cka-cut", CkaMap, CUT.parents, schema=2)
    assert later.load(finished, small_request.run, 0.5) is None


def test_without_its_parents_there_is_nothing_to_find_or_to_keep(finished, small_request):
    run = small_request.run
    assert CUT.load(finished, "no-such-run", 0.5) is None
    finished.forget(run, "ranking")
    assert CUT.load(finished, run, 0.5) is None
    with pytest.raises(ValueError, match="no finished cka or ranking"):
        CUT.save(finished, run, MAP, 0.0, 0.5)
