"""A small sample of the campaigns of `make reliability`: no fault, and campaigns that would see one."""

from __future__ import annotations

import json
import random

import pytest

from reliability import damage as damage_module
from reliability.damage import damage
from reliability.hostile import Worker, hostile
from reliability.hostile_seeds import seeds, spoilt, written
from reliability.kills import kills
from snapvit.store import manifest, store


def test_spoilt_files_of_strangers_are_taken_or_refused():
    verdict = hostile(80, seed=2)
    assert verdict.faults == []
    assert verdict.trials == 80 + len(seeds())
    assert {outcome.split(": ")[1] for outcome in verdict.counts} == {"taken", "refused"}


def test_no_damage_to_a_run_goes_unseen():
    verdict = damage(60, seed=2)
    assert verdict.faults == []
    assert {outcome.split(": ")[0] for outcome in verdict.counts} == set(damage_module.KINDS)


def test_a_killed_run_goes_on_to_the_same_numbers():
    assert kills(1, seed=2).faults == []


def test_damage_that_goes_unseen_is_found(monkeypatch):
    """Without digests the campaign must complain, or it would prove nothing."""
    sealed = manifest._opened
    monkeypatch.setattr(manifest, "_opened", lambda raw: json.loads(raw) if raw.startswith(b"{") else sealed(raw))
    monkeypatch.setattr(store, "digest", lambda raw: "0" * 64)
    assert damage(40, seed=2).faults


def test_a_worker_that_dies_or_crashes_is_seen(tmp_path):
    worker = Worker()
    try:
        outcome, fault = worker.open("no such kind", written(tmp_path, "a.png", b""))
        assert outcome == "refused"  # as a zip
        (tmp_path / "gone").mkdir()
        outcome, fault = worker.open("picture", tmp_path / "gone" / "a.png")
        assert (outcome, fault) == ("crash", fault)
        assert "FileNotFoundError" in fault
    finally:
        worker.stop()


@pytest.mark.parametrize("kind", sorted({kind for kind, _, _ in seeds()}))
def test_spoiling_changes_files_and_follows_the_seed(kind):
    raw = next(raw for found, _, raw in seeds() if found == kind)
    results = [[spoilt(random.Random(seed), raw, [raw], b"") for seed in range(20)] for _ in range(2)]
    assert results[0] == results[1]
    assert sum(result != raw for result in results[0]) > 15
