#!/usr/bin/env bash
# Writes the locks from pyproject.toml: requirements/<train>.txt for each dependency train, and for
# the images components.txt, components-gpu.txt and control.txt. Run it as `make lock`; it needs uv
# and the package index.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-uv}

lock() { # name, train, lowest Python, first Python too new, further arguments of uv pip compile
    local name=$1 train=$2 lowest=$3 too_new=$4 work
    shift 4
    work=$(mktemp -d)
    cp pyproject.toml requirements/*.in requirements/*.override "$work/"
    cp requirements/tf*.txt "$work/" 2>/dev/null || true
    # TFDV is published for Linux on x86-64 alone.
    cat >>"$work/pyproject.toml" <<EOF

[tool.uv]
environments = ["sys_platform == 'linux' and platform_machine == 'x86_64' and platform_python_implementation == 'CPython' and implementation_name == 'cpython' and python_full_version < '$too_new'"]
EOF
    if [ -f "requirements/$train.metadata" ]; then
        cat "requirements/$train.metadata" >>"$work/pyproject.toml"
    fi
    (cd "$work" && "$uv" pip compile --quiet --no-python-downloads --universal --python-version "$lowest" \
        --generate-hashes --no-annotate --no-header --constraint "$train.in" --override "$train.override" \
        "$@" pyproject.toml --output-file lock.txt)
    {
        echo "# The lock of $name, Python >= $lowest, < $too_new. Written by \`make lock\`: do not edit."
        cat "$work/lock.txt"
    } >"requirements/$name.txt"
    rm -r "$work"
    echo "requirements/$name.txt: $(grep -c '==' "requirements/$name.txt") packages"
}

lock tf216 tf216 3.10 3.12 --all-extras --override nccl.override
lock tf221 tf221 3.10 3.14 --all-extras --override nccl.override
# What executors need, at the versions that the train was tested with.
in_components=(--extra runtime --extra flights --extra avro --extra s3 --extra gcs --extra postgres --extra streams
    --extra registry --extra tuner --extra sklearn --extra xgboost --extra lightgbm
    --constraint tf221.txt)
lock components tf221 3.10 3.14 "${in_components[@]}" --override nccl.override
# The same with what TensorFlow loads to compute on NVIDIA's GPUs.
lock components-gpu tf221 3.10 3.14 "${in_components[@]}" --override gpu.override gpu.in
# What authoring and control need, and no TensorFlow.
lock control tf221 3.10 3.14 --extra registry --extra postgres --extra s3 --extra gcs --constraint tf221.txt --override nccl.override
# The registry's server, which holds no models but hands them through.
lock registry tf221 3.10 3.14 --extra registry --extra registry-server --constraint tf221.txt --override nccl.override
