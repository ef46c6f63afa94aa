"""Several processes make one run together, to the numbers of one process, whatever becomes of them on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import ranks_worker
import torch
from command_line import settings_of

from snapvit import cli
from snapvit.elastic.correction import Moments
from snapvit.errors import Cancelled, Lost
from snapvit.method import curvature
from snapvit.pipeline import effort
from snapvit.pipeline.progress import Event, Reporter, Shared
from snapvit.ranks import joining
from snapvit.ranks.ranks import ALONE, Ranks, Sum, dealt

ROOT = Path(__file__).parents[1]
WORKER = Path(ranks_worker.__file__)
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT)}
STAGES = {  # what is computed together
    *("curvature", "cka", "displacement", "search", "evaluation", "correction", "evaluation-corrected"),
    *("gauss-newton", "interactions-measured-6-12", "comparison"),
}
RUN = STAGES - {"gauss-newton", "interactions-measured-6-12", "comparison"} | {"ranking"}


def digests(root: Path) -> dict[str, str]:
    """Of every whole artifact's file, but for the times of this machine."""
    (manifest,) = root.glob("bundled-*/manifest.json")
    entries = json.loads(manifest.read_text())["entries"]
    return {
        name: entry["sha256"]
        for name, entry in entries.items()
        if not name.startswith("latency") and (entry["complete"] or name == "comparison")
    }


@pytest.fixture
def small_items(monkeypatch):
    monkeypatch.setattr(effort, "FORWARD_BATCH", effort.FORWARD_BATCH)
    monkeypatch.setattr(effort, "VIEW_TOKENS", effort.VIEW_TOKENS)
    monkeypatch.setattr(curvature, "SUMMED_IMAGES", curvature.SUMMED_IMAGES)
    ranks_worker.small_items()


def launched(size: int, *caches: Path) -> subprocess.CompletedProcess:
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size), str(WORKER)]
    return subprocess.run(
        [sys.executable, *words, *map(str, caches)],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


class Crew:
    """Processes started as torchrun starts them, without it: each one's end is seen."""

    def __init__(self, size: int, *words: Sequence[str], **environment: str) -> None:
        """words: of the first process, of the second, ...; the last ones are those of all others too."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = ENVIRONMENT | {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        self.processes = [
            subprocess.Popen(
                [sys.executable, str(WORKER), *words[min(rank, len(words) - 1)]],
                cwd=ROOT,
                env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} | environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
            for rank in range(size)
        ]
        self.said: list[str] = []

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()

    def wait_for(self, words: str) -> None:
        """Until the first process says this."""
        for line in self.processes[0].stderr:
            self.said.append(line)
            if words in line:
                return
        pytest.fail(f"it never said {words!r}: {''.join(self.said)}")

    def end(self, rank: int) -> tuple[int, str, str]:
        out, err = self.processes[rank].communicate(timeout=300)
        return self.processes[rank].returncode, out, err


@pytest.fixture(scope="module")
def caches(tmp_path_factory) -> dict[str, Path]:
    return {name: tmp_path_factory.mktemp(name) for name in ("alone", "stopped", "two", "four", "broken")}


@pytest.fixture(scope="module")
def alone(caches) -> dict[str, str]:
    """What one process makes of it."""
    done = subprocess.run(
        [sys.executable, str(WORKER), str(caches["alone"])], cwd=ROOT, env=ENVIRONMENT, timeout=900, check=False
    )
    assert done.returncode == 0
    found = digests(caches["alone"])
    assert set(found) >= STAGES
    return found


def command(cache: Path) -> list[str]:
    return ["run", "--json", "--cache", str(cache), *settings_of(ranks_worker.SETTINGS)]


def test_two_processes_give_the_bytes_of_one_and_go_on_with_what_one_began(caches, alone, small_items):
    class Stopping(Reporter):
        def __init__(self) -> None:
            super().__init__(self._seen)

        def _seen(self, event: Event) -> None:
            if event.kind == "generation" and event.values["generation"] == 3:
                self.cancel()

    with pytest.raises(Cancelled):
        ranks_worker.everything(caches["stopped"], ALONE, Stopping())
    assert set(digests(caches["stopped"])) == {"curvature", "cka", "displacement"}
    done = launched(2, caches["two"], caches["stopped"])
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert digests(caches["two"]) == alone
    assert digests(caches["stopped"]) == {name: alone[name] for name in RUN}


def test_a_run_that_was_cancelled_lost_a_process_and_stood_still_goes_on_to_the_same_bytes(caches, alone, small_items):
    root, lost = caches["broken"], "what was finished is kept"
    with Crew(2, command(root)) as crew:
        crew.wait_for("generation 2 of")
        crew.processes[0].send_signal(signal.SIGINT)
        crew.processes[1].send_signal(signal.SIGINT)  # as a terminal does
        code, out, err = crew.end(0)
        assert (code, out) == (130, "")
        assert err.splitlines()[-1].startswith("snapvit: cancelled; what was finished is kept")
        assert "Traceback" not in err
        assert crew.end(1) == (130, "", "")
    with Crew(3, command(root)) as crew:
        crew.wait_for("search goes on after generation")
        crew.wait_for("generation 4 of")
        crew.processes[1].kill()
        code, out, err = crew.end(0)
        assert (code, out) == (1, "")
        assert f"One of the 3 processes was lost; {lost}" in err.splitlines()[-1]
        assert "Traceback" not in err
        assert crew.end(2) == (1, "", "")
    with Crew(2, command(root), SILENT_SECONDS="8") as crew:
        crew.wait_for("evaluation begins")
        crew.processes[1].send_signal(signal.SIGSTOP)
        code, out, err = crew.end(0)
        assert (code, out) == (1, "")
        assert f"Process 2 of the 2 has not been heard of for 8 s; {lost}" in err.splitlines()[-1]
    assert "search" in digests(root)
    kept = shutil.copytree(root, root.parent / "broken-alone")
    done = launched(4, caches["four"], root)
    assert done.returncode == 0, done.stderr
    assert digests(caches["four"]) == alone
    assert digests(root) == {name: alone[name] for name in RUN}
    ranks_worker.everything(kept, ALONE, beside=False)
    assert digests(kept) == {name: alone[name] for name in RUN}


def test_a_process_with_other_images_ends_all_and_the_first_one_says_why(tmp_path):
    words = command(tmp_path)
    with Crew(2, words, [*words, "--set", "correction.images=28"]) as crew:
        code, out, err = crew.end(0)
        assert (code, out) == (1, "")
        *_, last = err.splitlines()
        assert last.startswith("snapvit: Process 2 of 2 stopped: the model or the images that bundled-")
        assert last.endswith("goes on from there.")
        assert crew.end(1) == (2, "", "")


@pytest.mark.parametrize("words", [["runs"], ["latency", "bundled"]])
def test_a_command_that_is_not_shared_says_so(words, tmp_path, monkeypatch, capsys):
    class Two(Ranks):
        size = 2

    monkeypatch.setattr(cli, "joined", lambda: nullcontext(joining.Crew(Two())))
    assert cli.main([*words, "--cache", str(tmp_path)]) == 2
    assert "can only share the commands run, interactions and compare" in capsys.readouterr().err


def test_a_process_that_nobody_started_as_one_of_several_is_alone():
    for environment in ({}, {"WORLD_SIZE": "1", "RANK": "0"}, {"WORLD_SIZE": "4"}, {"WORLD_SIZE": ""}):
        with joining.joined(environment) as crew:
            assert crew.ranks is ALONE
            assert crew.leave(2) == 2


def test_one_process_loads_nothing_of_torch_distributed():
    code = (
        "import sys; sys.argv = ['snapvit', 'models']; from snapvit.__main__ import main; main(); "
        "assert not {'torch', 'snapvit.ranks.together'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_processes_that_do_not_find_each_other_say_so(monkeypatch):
    def never(*_: object, **__: object) -> None:
        raise RuntimeError("connection refused\nand much more")

    monkeypatch.setattr("torch.distributed.init_process_group", never)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    names = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "here", "MASTER_PORT": "29500"}
    said = r"The 2 processes did not find each other at here:29500 \(connection refused\)\."
    with pytest.raises(Lost, match=said), joining.joined(names):
        pass


@pytest.mark.parametrize("size", [1, 2, 3, 7, 40])
def test_every_item_is_dealt_to_one_process_and_none_has_much_more_to_do(size):
    costs = [1.0, 3.0, 0.5, 2.0, 2.0, 1.5, 0.25] * 4
    shares = dealt(costs, size)
    assert sorted(item for share in shares for item in share) == list(range(len(costs)))
    loads = [sum(costs[item] for item in share) for share in shares]
    assert max(loads) <= sum(costs) / size + max(costs)


@pytest.mark.parametrize(("rows", "batch", "size"), [(21, 4, 2), (21, 4, 4), (8, 4, 2), (3, 4, 2), (0, 4, 2)])
def test_rows_are_dealt_out_in_the_batches_of_one_process(rows, batch, size):
    ids, seen = np.arange(rows) * 10, {}
    for rank in range(size):
        ranks = Ranks()
        ranks.rank, ranks.size = rank, size
        own = ranks.rows(ids, batch)
        for number, start in enumerate(range(0, len(own), batch)):
            seen[number * size + rank] = own[start : start + batch]
    found = [seen[number].tolist() for number in sorted(seen)]
    assert found == [ids[start : start + batch].tolist() for start in range(0, rows, batch)]
    assert ALONE.rows(ids, batch) is ids


def test_items_whose_sums_are_rounded_before_they_are_added_are_so_in_one_process_too():
    total = Sum(torch.zeros(1))

    def work():
        for number in (1.0, 2.0**-24, 2.0**-24):
            total.numbers += number
            total.numbers += 2.0**-25
            total.count += 2
            yield

    ALONE.reduce(work(), [total], direct=False)
    # of the second and third item 1.5 * 2**-24, which takes 1 to the next number; added one by one nothing would
    assert total.numbers.item() == 1 + 2 * 2.0**-23
    assert total.count == 6


def test_moments_of_batches_merged_are_those_of_all_tokens():
    tokens = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)).double() * 3 + 100
    direct, merged = (Moments(torch.zeros(7, 6)) for _ in range(2))
    for batch in tokens.split([20, 5, 25]):
        direct.add(batch)
        part = merged.fresh()
        part.add(batch)
        merged.merge(part.count, part.numbers)
    assert merged.count == direct.count == 50
    assert torch.equal(merged.numbers, direct.numbers)
    torch.testing.assert_close(direct.mean.double(), tokens.mean(0), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(direct.covariance.double(), tokens.T.cov(correction=0), rtol=1e-4, atol=1e-4)


def test_progress_of_a_shared_stage_is_that_of_all_and_never_more_than_the_stage():
    whole = Reporter()
    whole.plan(10)
    whole.begin("cka", 10)
    shared = Shared(whole, 4)
    shared.advance(1)
    assert whole.progress.overall_done == 4
    shared.advance(1)
    shared.advance(1)
    assert whole.progress.overall_done == 10
    assert shared.left == 0
    whole.cancel()
    with pytest.raises(Cancelled):
        shared.check()
