// Package connect opens channels to a server as a client in production should.
package connect

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// Keepalive is how long a connection may be silent before it is tested. The server counts pings
// that come in less than five minutes as an attack, so no client may ask more often.
const Keepalive = 300 * time.Second

// Answers of raw tensors are soon larger than the 4 MB that a client takes by default.
const largestAnswer = 64 << 20

// What may be tried again, and when: a server that stops or is not there yet says UNAVAILABLE.
const serviceConfig = `{"methodConfig": [{
	"name": [{"service": "inference.GRPCInferenceService"}, {"service": "crossrun.v1.Vision"}],
	"retryPolicy": {
		"maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
		"retryableStatusCodes": ["UNAVAILABLE"]
	}
}]}`

// To opens a channel: with TLS if CROSSRUN_ROOTS names the PEM file of an authority, and with a
// token in every call if CROSSRUN_TOKEN is set.
func To(address string) (*grpc.ClientConn, error) {
	options := []grpc.DialOption{
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(largestAnswer)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: Keepalive, Timeout: 20 * time.Second}),
	}
	transport := insecure.NewCredentials()
	if roots := os.Getenv("CROSSRUN_ROOTS"); roots != "" {
		var err error
		if transport, err = credentials.NewClientTLSFromFile(roots, ""); err != nil {
			return nil, err
		}
	}
	if token := os.Getenv("CROSSRUN_TOKEN"); token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer(token)))
	}
	return grpc.NewClient(address, append(options, grpc.WithTransportCredentials(transport))...)
}

type bearer string

func (token bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(token)}, nil
}

// RequireTransportSecurity keeps the token off connections that anybody can read.
func (token bearer) RequireTransportSecurity() bool { return true }

// Code is the status of an ended call as the protocol spells it, such as NOT_FOUND.
func Code(err error) string { return code.Code(status.Code(err)).String() }

// Fail prints a failed call in one line and ends the program.
func Fail(err error) {
	fmt.Fprintf(os.Stderr, "%s: %s\n", Code(err), status.Convert(err).Message())
	os.Exit(1)
}
