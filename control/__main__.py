"""Where ``tezcat`` and ``python -m control`` begin.

Worker processes import again what their parent began with, so it must be little; the command line is imported when it
runs.
"""

from __future__ import annotations

import gc


def main() -> None:
    """Run the command line."""
    from control import cli

    try:
        cli.main()
    finally:
        # The interpreter looks through all that was imported before it ends, a quarter of a second, for nothing.
        gc.freeze()


if __name__ == "__main__":
    main()
