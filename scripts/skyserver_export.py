"""Draw some galaxies from a large export of SkyServer, as a small export with the same columns.

For example:

    python scripts/skyserver_export.py skyserver.csv --rows 300 --out galaxies.csv
"""

import argparse
import csv
import random
import sys
from pathlib import Path


def read_galaxies(path: Path) -> tuple[list[str], list[list[str]]]:
    """Names of the columns, and the rows whose class is GALAXY; all rows of a table without classes."""
    with open(path, newline="") as stream:
        lines = csv.reader(line for line in stream if not line.startswith("#"))  # SkyServer's "#Table1"
        names = next(lines, [])
        kind = [name.lower() for name in names].index("class") if "class" in map(str.lower, names) else None
        return names, [row for row in lines if row and (kind is None or row[kind] == "GALAXY")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("export", type=Path)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="which ones are drawn")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    names, galaxies = read_galaxies(args.export)
    if len(galaxies) < args.rows:
        sys.exit(f"{args.export} has {len(galaxies)} galaxies, fewer than --rows {args.rows}")
    with open(args.out, "w", newline="") as stream:
        csv.writer(stream).writerows([names, *random.Random(args.seed).sample(galaxies, args.rows)])
    print(f"{args.rows} of {len(galaxies)} galaxies in {args.out}")


if __name__ == "__main__":
    main()
