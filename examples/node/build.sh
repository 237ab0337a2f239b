#!/bin/sh
# Generates the types and compiles the programs. Usage: build.sh OUTPUT
set -eu
output=$1
cd "$(dirname "$0")"

npm ci --silent
npm run --silent build
for program in classify tour golden; do
	printf '#!/bin/sh\nexec node "%s" "$@"\n' "$PWD/build/src/$program.js" > "$output/$program"
	chmod +x "$output/$program"
done
