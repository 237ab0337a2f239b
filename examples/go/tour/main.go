// Tour shows what else a client does, one line for each step.
// Usage: tour ADDRESS MODEL; RETRY_ADDRESS is a server that may be unavailable for a moment.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"example.com/crossrun-client/connect"
	"example.com/crossrun-client/crossrun/oip"
	"google.golang.org/grpc"
	health "google.golang.org/grpc/health/grpc_health_v1"
)

// Bytes of one element by datatype.
var sizes = map[string]int64{
	"BOOL": 1, "INT8": 1, "INT16": 2, "INT32": 4, "INT64": 8, "UINT8": 1, "UINT16": 2,
	"UINT32": 4, "UINT64": 8, "FP16": 2, "BF16": 2, "FP32": 4, "FP64": 8,
}

// watch reads the first of the states that the server streams whenever a model's changes.
func watch(channel *grpc.ClientConn, model string) (string, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel() // ends the stream
	states, err := health.NewHealthClient(channel).Watch(ctx, &health.HealthCheckRequest{Service: model})
	if err != nil {
		return "", err
	}
	state, err := states.Recv()
	return state.GetStatus().String(), err
}

// zeros makes a request of a model's own inputs, all 0, one row each.
func zeros(client oip.GRPCInferenceServiceClient, model string) (*oip.ModelInferRequest, error) {
	described, err := client.ModelMetadata(context.Background(), &oip.ModelMetadataRequest{Name: model})
	if err != nil {
		return nil, err
	}
	request := &oip.ModelInferRequest{ModelName: model}
	for _, input := range described.Inputs {
		size := sizes[input.Datatype]
		for i, length := range input.Shape {
			input.Shape[i] = max(length, 1) // -1 is any length
			size *= input.Shape[i]
		}
		request.Inputs = append(request.Inputs, &oip.ModelInferRequest_InferInputTensor{
			Name: input.Name, Datatype: input.Datatype, Shape: input.Shape,
		})
		request.RawInputContents = append(request.RawInputContents, make([]byte, size))
	}
	return request, nil
}

// tensor sends a raw tensor and reads the first that comes back.
func tensor(client oip.GRPCInferenceServiceClient, request *oip.ModelInferRequest) (string, error) {
	answer, err := client.ModelInfer(context.Background(), request)
	if err != nil {
		return "", err
	}
	output := answer.Outputs[0]
	if output.Datatype == "FP32" {
		values := make([]float32, len(answer.RawOutputContents[0])/4)
		if err := binary.Read(bytes.NewReader(answer.RawOutputContents[0]), binary.LittleEndian, values); err != nil {
			return "", err
		}
		for _, value := range values {
			if math.IsNaN(float64(value)) || math.IsInf(float64(value), 0) {
				return "", errors.New("the output has values that are not finite")
			}
		}
	}
	shape := strings.ReplaceAll(fmt.Sprint(output.Shape), " ", ", ")
	return strings.ToLower(output.Datatype) + " " + shape, nil
}

// deadline gives the server less time than it can do with.
func deadline(client oip.GRPCInferenceServiceClient, request *oip.ModelInferRequest) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Microsecond)
	defer cancel()
	_, err := client.ModelInfer(ctx, request)
	return connect.Code(err), nil
}

// cancelled gives up a call that is under way.
func cancelled(client oip.GRPCInferenceServiceClient, _ *oip.ModelInferRequest) (string, error) {
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := client.ModelStreamInfer(ctx)
	cancel()
	if err == nil {
		_, err = stream.Recv()
	}
	return connect.Code(err), nil
}

// retry asks a server that may answer UNAVAILABLE; the channel's service config tries again.
func retry(address string) (string, error) {
	channel, err := connect.To(address)
	if err != nil {
		return "", err
	}
	defer channel.Close()
	_, err = oip.NewGRPCInferenceServiceClient(channel).ServerLive(context.Background(), &oip.ServerLiveRequest{})
	return connect.Code(err), nil
}

func show(step, found string, err error) {
	if err != nil {
		connect.Fail(err)
	}
	fmt.Printf("%s: %s\n", step, found)
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: tour ADDRESS MODEL")
		os.Exit(2)
	}
	address, model := os.Args[1], os.Args[2]
	channel, err := connect.To(address)
	if err != nil {
		connect.Fail(err)
	}
	defer channel.Close()
	found, err := watch(channel, model)
	show("watch", found, err)

	client := oip.NewGRPCInferenceServiceClient(channel)
	request, err := zeros(client, model)
	if err != nil {
		connect.Fail(err)
	}
	found, err = tensor(client, request)
	show("tensor", found, err)
	found, err = deadline(client, request)
	show("deadline", found, err)
	found, err = cancelled(client, request)
	show("cancel", found, err)

	flaky := os.Getenv("RETRY_ADDRESS")
	if flaky == "" {
		flaky = address
	}
	found, err = retry(flaky)
	show("retry", found, err)
	show("keepalive", fmt.Sprintf("%.0f s", connect.Keepalive.Seconds()), nil)
}
