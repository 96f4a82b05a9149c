#!/usr/bin/env bash
# Download the wheels that a bare machine with PyTorch lacks, and count what must travel to it.
#     scripts/gpu/pack.sh [--limit MIB]
# The wheels are for CPython 3.12 on Linux (x86-64), and go to build/gpu-wheels, which git ignores.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
limit=64
if [ "${1:-}" = --limit ]; then limit=$2; fi
wheels=${PIX2SPEC_WHEELS:-$root/build/gpu-wheels}
mkdir -p "$wheels"
platforms=()
for libc in 39 35 34 31 28 27 24 17 12 5; do platforms+=(--platform "manylinux_2_${libc}_x86_64"); done
for name in manylinux2014 manylinux2010 manylinux1; do platforms+=(--platform "${name}_x86_64"); done
rm -f "$wheels"/*.whl
grep -v '^#' "$here/wheels.txt" | xargs "${PIX2SPEC_PYTHON:-python3}" -m pip download -q --no-deps \
    --only-binary=:all: --python-version 3.12 --implementation cp "${platforms[@]}" -d "$wheels"
packed=$(cat "$wheels"/*.whl | wc -c)
tracked=$(cd "$root" && git ls-files -z --cached --others --exclude-standard | xargs -0 cat 2>/dev/null | wc -c)
awk -v t="$tracked" -v w="$packed" -v limit="$limit" 'BEGIN {
    mib = 1048576
    printf "tracked files %.1f MiB, wheels %.1f MiB, together %.1f of %g MiB\n", t / mib, w / mib, (t + w) / mib, limit
    exit (t + w > limit * mib)
}'
