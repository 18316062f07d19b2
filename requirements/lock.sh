#!/usr/bin/env bash
# Writes the locks from pyproject.toml: requirements/<train>.txt for each dependency train, and
# requirements/image.txt for the images. Run it as `make lock`; it needs uv and the package index.
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

lock tf216 tf216 3.10 3.12 --all-extras
lock tf221 tf221 3.10 3.14 --all-extras
# What executors need, at the versions that the train was tested with. kfp's own requirements are left
# out: inside a step it only loads kfp.dsl, and its protobuf need not match TensorFlow's.
lock image tf221 3.10 3.14 --extra runtime --extra flights --extra avro --extra s3 --extra postgres --extra streams --extra registry --extra tuner --extra sklearn --extra xgboost --extra lightgbm --constraint tf221.txt --override image.override
