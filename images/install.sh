#!/bin/sh
# Installs a lock into /opt/penstock, inside an image that is being built: install.sh NAME heavy|all.
#   heavy  TensorFlow, and CUDA where the lock has it, which change with the train alone
#   all    everything else as well
set -eu
lock=/opt/locks/$1.txt
cut_out() { awk -v names="^($2)(==|\\[)" '/^[^ #]/ { inside = $0 ~ names } inside' "$1"; }
install() {
    UV_CACHE_DIR=/var/cache/uv UV_LINK_MODE=copy UV_SYSTEM_CERTS=1 /opt/tools/bin/uv pip install --quiet \
        --python /opt/penstock/bin/python --no-deps --require-hashes --requirement "$1"
}

[ -d /opt/penstock ] || python3 -m venv /opt/penstock
case $2 in
heavy)
    cut_out "$lock" 'tensorflow|nvidia-.*' >/tmp/lock.txt
    [ ! -s /tmp/lock.txt ] || install /tmp/lock.txt
    # What compiles operators of one's own in C++: 430 MB that no step loads.
    rm -rf /opt/penstock/lib/python3*/site-packages/tensorflow/include
    ;;
all)
    install "$lock"
    # What `penstock image build` holds packages to.
    sed -n '/^[^ #]/s/ *\\$//p' /opt/locks/tf221.txt >/opt/penstock/constraints.txt
    ;;
esac
rm -rf /tmp/* /opt/penstock/.lock
