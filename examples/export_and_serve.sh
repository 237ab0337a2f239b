#!/bin/sh
# Export a Keras classifier of your own, proven equal, and serve it until Ctrl-C.
#
#     examples/export_and_serve.sh FILE.keras [options of `crossrun-export keras`]
#
# PORT, 8001 unless set, is the server's port; MODELS, models/ unless set, the folder it serves.
set -eu
file=$1
shift
crossrun-export keras "$file" --output "${MODELS:=models/}" "$@"
exec crossrun-serve "$MODELS" --port "${PORT:-8001}" --no-metrics
