#!/usr/bin/env bash
# Measure galaxies and training samples a second, and the share of the peak rate, of the default and the paper's models.
#     scripts/gpu/bench.sh --out FOLDER --minutes N [--help]
source "$(dirname "$0")/common.sh"
run bench.py "$@"
