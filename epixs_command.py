"""Where the `epixs` command begins: outside the package, whose import alone takes most of a second.

A Ctrl-C in that second would come before any code inside the package could answer it.
"""

import sys


def main() -> None:
    """Import the command line and run it."""
    try:
        from epixs.cli import main as run

        run()
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
