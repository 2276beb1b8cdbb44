"""Where ``tezcat`` and ``python -m control`` begin.

Worker processes import again what their parent began with, so it must be little; the command line is imported when it
runs.
"""

from __future__ import annotations

import gc
import sys

# As control.outcome has it, which may not have been imported yet.
_INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    try:
        from control import cli

        cli.main()
    except KeyboardInterrupt:  # before a command began or after it ended
        sys.exit(_INTERRUPTED)
    finally:
        # The interpreter looks through all that was imported before it ends, a quarter of a second, for nothing.
        gc.freeze()


if __name__ == "__main__":
    main()
