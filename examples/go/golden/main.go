// Golden reads and writes every message of a folder as proto/golden/README.md says.
// Usage: golden DIR
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	_ "example.com/crossrun-client/crossrun/oip" // the messages, which register themselves
	_ "example.com/crossrun-client/crossrun/v1"
	_ "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

type decoder func([]byte, proto.Message) error

// message makes an empty one of the type that its file is named after: MESSAGE.CASE.bin.
func message(file string) (proto.Message, error) {
	words := strings.Split(filepath.Base(file), ".")
	name := protoreflect.FullName(strings.Join(words[:len(words)-2], "."))
	kind, err := protoregistry.GlobalTypes.FindMessageByName(name)
	if err != nil {
		return nil, err
	}
	return kind.New().Interface(), nil
}

// rewritten reads a file with a decoder and returns the message's bytes.
func rewritten(file string, decode decoder) ([]byte, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	read, err := message(file)
	if err != nil {
		return nil, err
	}
	if err := decode(content, read); err != nil {
		return nil, err
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(read)
}

// same tells whether two encodings say the same. Go writes the fields of a oneof last, so the
// bytes may be the same in another order.
func same(file string, one, other []byte) bool {
	first, err := message(file)
	second := proto.Clone(first)
	return err == nil && len(one) == len(other) && proto.Unmarshal(one, first) == nil &&
		proto.Unmarshal(other, second) == nil && proto.Equal(first, second)
}

// check compares what is written of the bytes and of the JSON with the bytes.
func check(file string) error {
	expected, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	decoders := map[string]decoder{".bin": proto.Unmarshal, ".json": protojson.Unmarshal}
	for suffix, decode := range decoders {
		written, err := rewritten(strings.TrimSuffix(file, ".bin")+suffix, decode)
		if err != nil {
			return err
		}
		if !same(file, written, expected) {
			return fmt.Errorf("its %s is written differently", suffix)
		}
	}
	return nil
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: golden DIR")
		os.Exit(2)
	}
	files, _ := filepath.Glob(filepath.Join(os.Args[1], "*.bin"))
	for _, file := range files {
		if err := check(file); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			os.Exit(1)
		}
	}
	fmt.Printf("%d messages alike\n", len(files))
}
