#!/bin/sh
# Runs a command on the crates here. Where cargo or its registry is missing, says so in a line and
# goes on: the server has another front end.
set -eu
cd "$(dirname "$0")"

without() {
	echo "no native front end here, since $1: left out $command"
	exit 0
}

command=$*
command -v cargo > /dev/null || without "cargo is not installed"
# At once if the crates are here already; a registry that does not answer is no reason to wait.
CARGO_NET_RETRY=0 CARGO_HTTP_TIMEOUT=5 cargo fetch --locked --quiet 2> /dev/null ||
	without "cargo cannot get the crates (it has to be 1.85 or newer, and to reach their registry)"
exec "$@"
