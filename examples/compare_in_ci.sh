#!/bin/sh
# Fail a build whose server became slower than that of the last build that passed.
#
#     examples/compare_in_ci.sh MODELS MODEL KEPT.json
#
# Let your CI keep KEPT.json from one build to the next, on one kind of machine; the first build
# makes it. LIMIT, 10 unless set, is how many percent slower the median may be. What is compared
# is the server's time as a multiple of onnxruntime's in process, so that a host which became
# slower as a whole breaks no build.
set -eu
new=$(mktemp)
trap 'rm -f "$new"' EXIT
crossrun-bench latency "$1" --model "$2" --targets onnxruntime,grpc-raw --batch 1 --rounds 10 \
    --output "$new"
if [ -f "$3" ]; then
    crossrun-bench compare "$3" "$new" --relative-to onnxruntime \
        --fail-if "grpc-raw: p50 > +${LIMIT:-10}%" --markdown -
fi
cp "$new" "$3"
