"""`python -m bench [NAME...]`: runs bench/<NAME>.py modules, all of them when none is named. Each prints a table with
the peer or limit it is measured against in the same run."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

_SHARED = {"__init__", "__main__", "traffic", "table", "plain_select"}


def names() -> list[str]:
    """Modules that can be run: those that are not shared by the others."""
    return sorted({path.stem for path in Path(__file__).parent.glob("*.py")} - _SHARED)


def main(wanted: list[str]) -> int:
    known = names()
    unknown = [name for name in wanted if name not in known]
    if unknown:
        print(f"no such measurement: {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    for name in wanted or known:
        module = importlib.import_module(f"bench.{name}")
        print(f"\n== {name}: {(module.__doc__ or '').strip().splitlines()[0]}\n", flush=True)
        module.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
