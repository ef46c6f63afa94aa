"""The model hub: whether it answers, and fetching from it with progress.

Weights still go through timm; what is fetched here lies in the hub client's own cache, where timm finds it.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from tqdm import tqdm

Fetched = Callable[[int, int], None]  # bytes so far, bytes in all (0 where the hub does not say)

WEIGHTS = "model.safetensors"
PATIENCE = 6.0  # seconds until a hub that does not answer counts as out of reach


@contextmanager
def hub_or_its_cache() -> Iterator[bool]:
    """Whether the hub answers. Where it does not, its client would retry for a minute; then only its files on disk
    are asked for."""
    before = constants.HF_HUB_OFFLINE
    answers = not before and hub_answers()
    constants.HF_HUB_OFFLINE = not answers
    try:
        yield answers
    finally:
        constants.HF_HUB_OFFLINE = before


def hub_answers(seconds: float = PATIENCE) -> bool:
    """Ask the hub for anything, through the proxy if there is one; False after `seconds` whatever hangs."""
    answers: list[bool] = []
    # A name look-up knows no time limit of its own, so the question is asked beside.
    asking = threading.Thread(target=lambda: answers.append(_asked(seconds)), daemon=True)
    asking.start()
    asking.join(seconds)
    return bool(answers) and answers[0]


def _asked(seconds: float) -> bool:
    try:
        urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=seconds).close()
    except HTTPError:
        return True  # an answer all the same
    except URLError as error:
        return isinstance(error.reason, ssl.SSLError)  # the client may have certificates that Python has not
    except (OSError, ValueError):
        return False
    return True


def fetch_weights(hub_id: str, fetched: Fetched) -> None:
    """Bring a model's weights into the client's cache; `fetched` is called with each piece and may raise to stop.

    A repository without a safetensors file is left to timm, which knows the older names.
    """

    class Watched(tqdm):  # the client shows its progress through a class of this kind
        def __init__(self, *args: object, **settings: object) -> None:
            super().__init__(*args, **(settings | {"disable": True}))  # drawn by nobody, only counted

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            fetched(int(self.n), int(self.total or 0))

    repository, _, revision = hub_id.partition("@")
    try:
        hf_hub_download(repository, WEIGHTS, revision=revision or None, tqdm_class=Watched)
    except EntryNotFoundError as error:
        if isinstance(error, FileNotFoundError):  # not even asked: the hub is out of reach and its cache lacks it
            raise
