"""`python -m snapvit`, and the command `snapvit` of an installed package."""

import sys

from snapvit.environment import prepare


def main() -> int:
    """Run the command line and return its exit code."""
    prepare()
    try:
        from snapvit.cli import main as command

        return command()
    except KeyboardInterrupt:  # while modules are being imported; later the command line answers it itself
        return 130


if __name__ == "__main__":
    sys.exit(main())
