"""Run measurements by name, or all of them: `python -m bench [NAME…]`."""

import argparse
import importlib
import sys

NAMES = ("store", "admit", "api", "dns", "balance", "runtime", "cluster", "pods", "simulation", "scale")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    names = parser.parse_args().names or NAMES
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        parser.error(f"no such measurement: {', '.join(unknown)}; choose from {', '.join(NAMES)}")
    for name in names:
        print(f"# {name}", file=sys.stderr, flush=True)
        sys.argv = [f"bench.{name}"]
        importlib.import_module(f"bench.{name}").main()


if __name__ == "__main__":
    main()
