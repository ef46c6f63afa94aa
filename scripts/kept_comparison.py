"""Keeps a run's comparison as a file, and gives it back to the same run made anew: hours of measuring, some kilobytes.

`python -m scripts.kept_comparison keep RUN FOLDER [--cache DIR]` writes `FOLDER/RUN-KEY.safetensors`, where KEY stands
for all that the numbers depend on; `... give RUN FOLDER` adds what is kept to the run's comparison.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from snapvit.pipeline.results import StoredRun
from snapvit.pipeline.stages.comparison import COMPARISON
from snapvit.pipeline.table import key_of, root_of
from snapvit.store.packing import pack, unpack
from snapvit.store.store import Store
from snapvit.tables import Comparison


def main() -> str | None:
    """Keep or give. Returns what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["keep", "give"])
    parser.add_argument("run")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cache", type=Path)
    args = parser.parse_args()
    store = Store(args.cache)
    stored = StoredRun.open(store, args.run)
    place = COMPARISON, stored.request, stored.manifest.nodes
    key = key_of(*place)
    file = args.folder / f"{args.run}-{key}.safetensors"
    if args.what == "keep":
        args.folder.mkdir(parents=True, exist_ok=True)
        for former in args.folder.glob(f"{args.run}-*.safetensors"):
            former.unlink()
        file.write_bytes(pack(stored.need(COMPARISON)))
        return None
    if not file.exists():
        return f"{args.folder} has no comparison of {args.run} with today's code, model and images: {file.name}."
    kept = unpack(Comparison, file.read_bytes())

    def merged(old: Comparison | None) -> Comparison:
        return COMPARISON.merge(old, kept)

    store.update(args.run, COMPARISON.name, Comparison, key, merged, root=root_of(*place))
    return None


if __name__ == "__main__":
    sys.exit(main())
