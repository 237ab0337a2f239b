#!/bin/sh
# Builds the programs; build.rs generates from the protos. Usage: build.sh OUTPUT
set -eu
output=$1
cd "$(dirname "$0")"
CARGO_TARGET_DIR=$output/target cargo build --quiet --locked
for program in classify tour golden; do
	ln -sf "target/debug/$program" "$output/$program"
done
