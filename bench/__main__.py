"""Run measurements by name, or all of them: `python -m bench [NAME…]`.

Options go to every measurement named: `python -m bench dns --rounds 5`; `python -m bench dns --help` lists them.
"""

import importlib
import sys

NAMES = ("store", "admit", "api", "dns", "balance", "alone", "runtime", "cluster", "pods", "simulation", "scale")


def main() -> None:
    given = sys.argv[1:]
    first = next((at for at, word in enumerate(given) if word.startswith("-")), len(given))
    names, options = given[:first], given[first:]
    if not names and options and options[0] in ("-h", "--help"):
        print(__doc__, f"NAME is one of {', '.join(NAMES)}.", sep="\n")
        return
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        raise SystemExit(f"no such measurement: {', '.join(unknown)}; choose from {', '.join(NAMES)}")
    for name in names or NAMES:
        print(f"# {name}", file=sys.stderr, flush=True)
        sys.argv = [f"bench.{name}", *options]
        importlib.import_module(f"bench.{name}").main()


if __name__ == "__main__":
    main()
