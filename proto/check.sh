#!/bin/sh
# Checks the protos: buf's lint, and that no client that was generated from baseline.binpb breaks.
# Usage: check.sh [FOLDER], a copy of this one. buf comes from npm, locked in package-lock.json.
# A change that is meant to break is made one with: proto/check.sh --renew
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tools=$here/../build/buf
buf=$tools/node_modules/.bin/buf

if ! command -v npm > /dev/null; then
	echo "the protos are not checked: npm is not installed"
	[ -z "${CI:-}" ] && exit 0 || exit 1
fi
if ! cmp -s "$here/package-lock.json" "$tools/package-lock.json" || [ ! -e "$buf" ]; then
	mkdir -p "$tools"
	cp "$here/package.json" "$here/package-lock.json" "$tools"
	(cd "$tools" && npm ci --silent --ignore-scripts)
fi
if [ "${1:-}" = --renew ]; then
	exec "$buf" build "$here" --exclude-source-info --output "$here/baseline.binpb"
fi
"$buf" lint "${1:-$here}"
"$buf" breaking "${1:-$here}" --against "$here/baseline.binpb"
