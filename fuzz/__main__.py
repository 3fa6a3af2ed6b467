"""`python -m fuzz`, and `python -m fuzz coverage`."""

from __future__ import annotations

import sys


def _main() -> int:
    # Coverage is traced in what is imported after atheris alone, so that each command imports its own modules.
    if sys.argv[1:2] == ["coverage"]:
        from fuzz import coverage

        return coverage.main(sys.argv[2:])
    from fuzz import command

    return command.main()


if __name__ == "__main__":
    sys.exit(_main())
