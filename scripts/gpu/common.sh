# Sourced by the scripts beside it. `run PROGRAM --out FOLDER --minutes N ...` runs a Python program of this folder
# on the packages of the machine and the wheels of pack.sh, writes FOLDER/log.txt, and ends it for certain after N
# minutes. PIX2SPEC_WHEELS names another folder of wheels, PIX2SPEC_PYTHON another interpreter.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
wheels=${PIX2SPEC_WHEELS:-$root/build/gpu-wheels}
python=${PIX2SPEC_PYTHON:-python3}

option() {  # option NAME ARGUMENTS: the value of --NAME
    local name=$1; shift
    while [ $# -gt 1 ]; do
        if [ "$1" = "--$name" ]; then printf '%s' "$2"; return; fi
        shift
    done
}

add_wheels() {  # what the machine lacks goes beside its packages, where nothing can be downloaded
    local needed='astropy diffusers pydantic rich speclite timm'
    if "$python" -c "import importlib.util as u; all(map(u.find_spec, '$needed'.split())) or exit(1)"; then return; fi
    local version site=${TMPDIR:-/tmp}/pix2spec-site
    if [ ! -d "$site" ]; then
        "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site.new" \
            "$wheels"/*.whl
        version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/pyproject.toml")
        mkdir "$site.new/pix2spec-$version.dist-info"  # the package runs from its sources, and asks its version
        printf 'Metadata-Version: 2.1\nName: pix2spec\nVersion: %s\n' "$version" \
            > "$site.new/pix2spec-$version.dist-info/METADATA"
        mv "$site.new" "$site"
    fi
    export PYTHONPATH="$PYTHONPATH:$site"
}

run() {
    local began program=$1; shift
    began=$(date +%s)
    local out minutes
    out=$(option out "$@"); minutes=$(option minutes "$@")
    if [ -z "$out" ] || [ -z "$minutes" ]; then
        echo "usage: $(basename "$0") --out FOLDER --minutes N [more options of scripts/gpu/$program]" >&2
        exit 2
    fi
    mkdir -p "$out"
    export PYTHONPATH="$root/src:$root/benchmarks:$here${PYTHONPATH:+:$PYTHONPATH}"
    unset PYTHONDONTWRITEBYTECODE  # many processes import the same packages
    export PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 PYTORCH_NVML_BASED_CUDA_CHECK=1
    add_wheels
    local seconds rest  # programs end by themselves; if one does not, it is asked to, and killed after the rest
    rest=$(awk "BEGIN {r = 15 * $minutes; print (r < 12 ? r : 12)}")
    seconds=$(awk "BEGIN {s = 60 * $minutes - $rest - ($(date +%s) - $began); print (s > 0.1 ? s : 0.1)}")
    timeout --signal=TERM --kill-after="$rest" "$seconds" "$python" "$here/$program" --began "$began" "$@" 2>&1 |
        tee "$out/log.txt"
}
