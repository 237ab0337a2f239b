#!/bin/sh
# Generates the stubs and compiles the programs. Usage: build.sh OUTPUT
set -eu
output=$1
cd "$(dirname "$0")"

mvn --quiet --batch-mode -Dstyle.color=never process-classes -Doutput="$output"
for program in Classify Tour Golden; do
	script=$output/$(echo "$program" | tr '[:upper:]' '[:lower:]')
	# The names of a folder's classes and jars: java expands the star.
	printf '#!/bin/sh\nexec java -XX:TieredStopAtLevel=1 -cp "%s/classes:%s/lib/*" crossrun.examples.%s "$@"\n' \
		"$output" "$output" "$program" > "$script"
	chmod +x "$script"
done
