#!/bin/sh
# Export a Keras classifier of your own, proven equal, and serve it until Ctrl-C.
#
#     examples/export_and_serve.sh FILE.keras [options of `crossrun-export keras`]
#
# PORT and HTTP_PORT, 8001 and 8000 unless set, are the server's ports; MODELS, models/ unless set,
# the folder it serves.
set -eu
file=$1
shift
crossrun-export keras "$file" --output "${MODELS:=models/}" "$@"
exec crossrun-serve "$MODELS" --port "${PORT:-8001}" --http-port "${HTTP_PORT:-8000}" \
	--no-metrics
