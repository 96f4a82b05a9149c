#!/usr/bin/env bash
# Download the wheels that a bare machine with PyTorch lacks, and count what must travel to it.
#     scripts/gpu/pack.sh [--limit MIB] [--data DIR]
# The wheels are for CPython 3.12 on Linux (x86-64), and go to build/gpu-wheels, which git ignores. With --data, the
# archives of real galaxies in DIR that the default model learns from go to build/gpu-data, in parts of 24 MiB.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
limit=64
data=
while [ $# -gt 1 ]; do
    case $1 in
        --limit) limit=$2 ;;
        --data) data=$2 ;;
    esac
    shift 2
done
wheels=${PIX2SPEC_WHEELS:-$root/build/gpu-wheels}
mkdir -p "$wheels"
platforms=()
for libc in 39 35 34 31 28 27 24 17 12 5; do platforms+=(--platform "manylinux_2_${libc}_x86_64"); done
for name in manylinux2014 manylinux2010 manylinux1; do platforms+=(--platform "${name}_x86_64"); done
rm -f "$wheels"/*.whl
grep -v '^#' "$here/wheels.txt" | xargs "${PIX2SPEC_PYTHON:-python3}" -m pip download -q --no-deps \
    --only-binary=:all: --python-version 3.12 --implementation cp "${platforms[@]}" -d "$wheels"
if [ -n "$data" ]; then
    mkdir -p "$root/build/gpu-data"
    rm -f "$root/build/gpu-data"/part.*
    archives=$(cd "$data" && ls sdss_photometry.npz mgs_photometry.npz des_gama_photometry.npz des_deep_photometry.npz \
        zcosmos_photometry.npz fors2.npz sdss_galaxies.npz sdss_quasars.npz brown2014.npz filters_*.npz)
    tar -C "$data" -cf - $archives | split -b 24m - "$root/build/gpu-data/part."
    ls -l "$root/build/gpu-data" | awk 'NR > 1 { printf "%s %.1f MiB\n", $NF, $5 / 1048576 }'
fi
packed=$(cat "$wheels"/*.whl | wc -c)
tracked=$(cd "$root" && git ls-files -z --cached --others --exclude-standard | xargs -0 cat 2>/dev/null | wc -c)
awk -v t="$tracked" -v w="$packed" -v limit="$limit" 'BEGIN {
    mib = 1048576
    printf "tracked files %.1f MiB, wheels %.1f MiB, together %.1f of %g MiB\n", t / mib, w / mib, (t + w) / mib, limit
    exit (t + w > limit * mib)
}'
