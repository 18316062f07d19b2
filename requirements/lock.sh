#!/usr/bin/env bash
# Writes requirements/<train>.txt, the lock of each dependency train, from pyproject.toml and
# requirements/<train>.in. Run it as `make lock`; it needs uv and the package index.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-uv}

lock() { # train, lowest Python, first Python too new
    local work
    work=$(mktemp -d)
    cp pyproject.toml "$work/"
    # TFDV is published for Linux on x86-64 alone.
    cat >>"$work/pyproject.toml" <<EOF

[tool.uv]
environments = ["sys_platform == 'linux' and platform_machine == 'x86_64' and python_full_version < '$3'"]
EOF
    cp "requirements/$1.in" "$work/"
    local override=()
    if [ -f "requirements/$1.override" ]; then
        cp "requirements/$1.override" "$work/"
        override=(--override "$1.override")
    fi
    (cd "$work" && "$uv" pip compile --quiet --no-python-downloads --universal --python-version "$2" \
        --generate-hashes --no-annotate --no-header --all-extras --constraint "$1.in" "${override[@]}" \
        pyproject.toml --output-file lock.txt)
    {
        echo "# The lock of train $1, Python >= $2, < $3. Written by \`make lock\`: do not edit."
        cat "$work/lock.txt"
    } >"requirements/$1.txt"
    rm -r "$work"
    echo "requirements/$1.txt: $(grep -c '==' "requirements/$1.txt") packages"
}

lock tf216 3.10 3.12
lock tf221 3.10 3.14
