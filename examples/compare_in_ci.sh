#!/bin/sh
# Fail a build whose model is served more slowly than the one before.
#
#     examples/compare_in_ci.sh BEFORE AFTER MODEL
#
# BEFORE and AFTER are model repositories that both hold MODEL. Both are measured in this job, for
# the next job may run on another machine. LIMIT, 20 unless set, is how many percent slower the
# median may be. The table goes to stdout, as Markdown.
set -eu
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
measure() {
    crossrun-bench latency "$1" --model "$2" --targets onnxruntime,grpc-raw --batch 1 --rounds 10 \
        --output "$3"
}
measure "$1" "$3" "$found/before.json"
measure "$2" "$3" "$found/after.json"
crossrun-bench compare "$found/before.json" "$found/after.json" \
    --fail-if "grpc-raw: p50 > +${LIMIT:-20}%" --markdown -
