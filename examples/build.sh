#!/bin/sh
# Builds the client examples of the languages named, or of all, into build/examples/LANGUAGE.
# What has not changed is not built again. Where a language's tools are missing, it says so in a
# line and goes on; with CI set and as root on Debian it installs them first.
set -eu
cd "$(dirname "$0")/.."
export PROTOC="${PROTOC:-$PWD/.venv/bin/python -m grpc_tools.protoc}"

# Sets what a language needs: a command, and Debian's packages that bring it.
needs() {
	case $1 in
	go) tool=go packages= ;;     # Debian's is too old
	rust) tool=cargo packages= ;; # so is this
	java) tool=mvn packages='maven default-jdk-headless' ;;
	node) tool=npm packages='npm' ;;
	cpp) tool=grpc_cpp_plugin packages='cmake g++ pkg-config libgrpc++-dev protobuf-compiler protobuf-compiler-grpc' ;;
	*) echo "no client in examples/$1" >&2 && exit 1 ;;
	esac
}

can_install() {
	[ -n "${CI:-}" ] && [ -n "$packages" ] && [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null
}

install_packages() {
	apt-get update -qq
	# shellcheck disable=SC2086  # they are several
	DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $packages > /dev/null
}

build() {
	needs "$1"
	output=$PWD/build/examples/$1
	if ! command -v $tool > /dev/null && can_install; then install_packages; fi
	if ! command -v $tool > /dev/null; then
		echo "$1: left out, $tool is not installed${packages:+ (on Debian: apt-get install $packages)}"
	elif [ -e "$output/built" ] && [ -z "$(find "examples/$1" proto/crossrun -name target -prune -o \
		-name node_modules -prune -o -type f -newer "$output/built" ! -name '*.py*' -print)" ]; then
		echo "$1: built"
	else
		mkdir -p "$output"
		rm -f "$output/built"
		"examples/$1/build.sh" "$output"
		touch "$output/built"
		echo "$1: built anew"
	fi
}

[ $# -gt 0 ] || set -- go rust java node cpp
for language; do
	if [ -d "examples/$language" ]; then build "$language"; fi
done
