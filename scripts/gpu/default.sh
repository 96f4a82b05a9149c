#!/usr/bin/env bash
# Train the default model on a GPU as far as the time goes, and score it on simulated galaxies.
#     scripts/gpu/default.sh --out FOLDER --minutes N [--help]
source "$(dirname "$0")/common.sh"
run default.py "$@"
