"""`python -m reliability [CAMPAIGN ...] [--count N] [--seed N]`: try to break the explorer, and print what came of it.

Exit code 1 where a campaign found a fault.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from reliability.damage import damage
from reliability.hostile import hostile
from reliability.kills import kills
from reliability.soak import soak
from reliability.together import together
from reliability.verdict import Verdict

# (campaign, how many trials by default: kills, damages, files, rounds, minutes)
CAMPAIGNS: dict[str, tuple[Callable[[int, int], Verdict], int]] = {
    "kills": (lambda count, seed: kills(count, seed), 100),
    "damage": (lambda count, seed: damage(count, seed), 4000),
    "hostile": (lambda count, seed: hostile(count, seed), 10_000),
    "together": (lambda count, seed: together(count, seed=seed), 10),
    "soak": (lambda count, _: soak(count), 60),
}


def main() -> int:
    """Run the campaigns asked for."""
    parser = argparse.ArgumentParser(prog="reliability", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", choices=[*CAMPAIGNS, []], metavar="CAMPAIGN", help=", ".join(CAMPAIGNS))
    parser.add_argument("--count", type=int, metavar="N", help="trials of each; the soak's are minutes")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    args = parser.parse_args()
    faults = 0
    for name in args.names or CAMPAIGNS:
        campaign, usual = CAMPAIGNS[name]
        started = time.monotonic()
        verdict = campaign(args.count or usual, args.seed)
        print(verdict, f"\n  {(time.monotonic() - started) / 60:.1f} minutes", flush=True)
        faults += len(verdict.faults)
    return 1 if faults else 0


sys.exit(main())
