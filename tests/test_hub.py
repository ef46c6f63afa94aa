"""The hub: a download comes with progress and can be stopped, and a hub out of reach is named in one sentence.

The hub is a server of our own on this computer, asked through timm's and the hub client's real code in a process of
its own, because the client reads its address when it is imported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save

from snapvit.models.loading import weights_digest

ROOT = Path(__file__).parents[1]
NAME = "vit_tiny_patch16_224"  # 23 MB


@pytest.fixture(scope="module")
def source() -> torch.nn.Module:
    with torch.random.fork_rng():
        return timm.create_model(NAME)


@pytest.fixture(scope="module")
def hub(source: torch.nn.Module) -> Iterator[str]:
    """Address of a server that holds the weights of NAME, as its hub repository does."""
    weights = save(source.state_dict())

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(b"")

        def do_GET(self) -> None:
            self._answer(weights)

        def _answer(self, body: bytes) -> None:
            known = self.path in ("/", f"/timm/{NAME}.augreg_in21k_ft_in1k/resolve/main/model.safetensors")
            self.send_response(200 if known else 404)
            self.send_header("ETag", '"0123456789abcdef"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(weights)) if known else "0")
            self.end_headers()
            if known:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def in_a_process_of_its_own(code: str, address: str, home: Path) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    env |= {"HF_ENDPOINT": address, "HF_HOME": str(home), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)


LOAD = f"""
import json
from snapvit.models.loading import load_model
from snapvit.models.spec import ModelSpec
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.workspace import download_notes
reporter = Reporter()
loaded = load_model(ModelSpec("{NAME}"), "cpu", download_notes(reporter))
print(json.dumps([loaded.digest, [event.text for event in reporter.events]]))
"""

CANCEL = f"""
from snapvit.errors import Cancelled
from snapvit.models.loading import load_model
from snapvit.models.spec import ModelSpec
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.workspace import download_notes
reporter = Reporter(lambda event: reporter.cancel())
try:
    load_model(ModelSpec("{NAME}"), "cpu", download_notes(reporter))
except Cancelled:
    print([event.text for event in reporter.events])
"""


def test_a_download_is_told_step_by_step_and_kept(hub, source, tmp_path):
    answer = in_a_process_of_its_own(LOAD, hub, tmp_path)
    assert answer.returncode == 0, answer.stderr
    digest, told = json.loads(answer.stdout)
    assert digest == weights_digest(source)
    assert len(told) > 2
    assert told[-1] == "downloading weights: 22.9 MB of 22.9 MB"
    # what was fetched lies in the client's cache: it serves when the hub is gone
    again = in_a_process_of_its_own(LOAD, "http://127.0.0.1:9", tmp_path)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == [digest, []]


def test_a_download_can_be_stopped(hub, tmp_path):
    answer = in_a_process_of_its_own(CANCEL, hub, tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("downloading weights") == 1


@pytest.mark.parametrize("address", ["https://hub.invalid", "http://127.0.0.1:9"])
def test_a_hub_out_of_reach_is_one_sentence(address, tmp_path):
    """`.invalid` is never resolved (RFC 2606); nobody listens on port 9."""
    command = "import sys; from snapvit.cli import main; sys.exit(main(sys.argv[1:]))"
    code = f"import sys; sys.argv[1:] = ['run', '--model', '{NAME}', '--cache', r'{tmp_path}']; {command}"
    answer = in_a_process_of_its_own(code, address, tmp_path)
    assert answer.returncode == 2, answer.stderr
    (line,) = [line for line in answer.stderr.splitlines() if line.startswith("snapvit:")]
    for told in (NAME, f"{address} does not answer", "check the network", "checkpoint file"):
        assert told in line
    assert "Traceback" not in answer.stderr
