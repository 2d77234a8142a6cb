#!/usr/bin/env bash
# The main job, told step by step: run layers, write a file, see where it went, commit it, run the result.
#
# Has a store of its own, which stays: the second time nothing is built and nothing unpacked. Run by `sudo make demo`.
set -euo pipefail
cd "$(dirname "$0")/.."
# nothing here needs a network: no bridge and no rule is left for a look at layers
export MINIRUN_ROOT=/var/lib/minirun-demo MINIRUN_RUNTIME=/run/minirun-demo MINIRUN_NETWORK=none
LAYERS=rootfs-fixtures/out/ubuntu-layers

minirun() {
    .venv/bin/minirun "$@"
}

if [ -t 1 ]; then
    bold=$'\e[1m' plain=$'\e[0m'
else
    bold='' plain=''
fi

tell() {
    printf '\n%s\n' "$*"
}

# Print a command as one would type it, then its output.
show() {
    printf '%s\n' "$bold\$ $1$plain"
    eval "$1"
}

# What this makes, and what an interrupted one before it may have left.
sweep() {
    { minirun rm -f demo; minirun rmi demo:happy; } >/dev/null 2>&1 || true
}

rootfs-fixtures/build ubuntu-layers
sweep
trap sweep EXIT
began_s=$SECONDS

tell "An image is a stack of layers. This one is a directory of tars, lowest first:"
show "ls -sh $LAYERS/"

tell "Run it. The command gets the layers, read-only, under one writable layer of its own."
show "minirun run --name demo $LAYERS/ sh -c 'echo happy > /happiness.txt; grep PRETTY /etc/os-release; python3 --version; echo I am PID \$\$'"

tell "The container has ended. Its file is in its own layer, and nowhere else: not in the image's, not on the host."
show "find $MINIRUN_ROOT -name happiness.txt"
show "cat /happiness.txt" 2>&1 || true

tell "What did it change, compared with its image?"
show "minirun diff demo"

tell "Keep that: its layer becomes the top layer of a new image, and the layers below are shared."
show "minirun commit demo demo:happy"
show "minirun run --rm demo:happy cat /happiness.txt"
show "minirun images"

tell "And away with what this made; the unpacked layers stay in $MINIRUN_ROOT for the next time."
show "minirun rm demo"
show "minirun rmi demo:happy"
trap - EXIT
tell "Done in $((SECONDS - began_s)) s. Your turn: sudo .venv/bin/minirun run --rm -it $LAYERS/ bash"
