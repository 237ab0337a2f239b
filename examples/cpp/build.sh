#!/bin/sh
# Builds the programs, stubs and all. Usage: build.sh OUTPUT
set -eu
cmake -S "$(dirname "$0")" -B "$1" > "$1/cmake.log"
cmake --build "$1" --parallel 2 -- --quiet
