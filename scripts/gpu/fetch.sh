#!/usr/bin/env bash
# Copy one group of a job's files, where only so many and so large files may leave a machine at a time.
#     scripts/gpu/fetch.sh FROM OUT NUMBER [FILES] [MIB]
# Files of FROM, by name, are put into groups of at most FILES (8) files and MIB (60) together; NUMBER begins at 1.
set -euo pipefail
from=$1 out=$2 number=$3 files=${4:-8} mib=${5:-60}
mkdir -p "$out"
find "$from" -maxdepth 1 -type f -printf '%s %p\n' | sort -k2 | awk -v n="$number" -v f="$files" -v m="$mib" '
    BEGIN { group = 1 }
    { if (count && (count == f || size + $1 > m * 1048576)) { group++; count = 0; size = 0 }
      count++; size += $1; if (group == n) print substr($0, index($0, " ") + 1) }
    END { printf "%d groups\n", group > "/dev/stderr" }' | while read -r file; do cp "$file" "$out/"; done
