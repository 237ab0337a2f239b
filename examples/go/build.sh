#!/bin/sh
# Generates crossrun/ from the protos and builds the programs. Usage: build.sh OUTPUT
set -eu
output=$1
cd "$(dirname "$0")"
protos=../../proto

# The generators are locked in go.mod, as all else is.
GOBIN=$output/generators go install tool
${PROTOC:-protoc} -I "$protos" --go_out=. --go-grpc_out=. \
	--plugin="$output/generators/protoc-gen-go" --plugin="$output/generators/protoc-gen-go-grpc" \
	crossrun/v1/vision.proto crossrun/v1/providers.proto \
	crossrun/oip/model_config.proto crossrun/oip/grpc_service.proto
go build -o "$output/" ./classify ./tour ./golden
