#!/usr/bin/env bash
# Train the paper's networks at full size as far as the time goes; score them as in the paper's Table 1.
#     scripts/gpu/paper.sh --out FOLDER --minutes N [--help]
source "$(dirname "$0")/common.sh"
run paper.py "$@"
