// Classify sends a picture and prints what it shows, best first.
// Usage: classify ADDRESS PHOTO [MODEL]
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"example.com/crossrun-client/connect"
	vision "example.com/crossrun-client/crossrun/v1"
)

func classify(address, photo, model string) (*vision.ClassifyResponse, error) {
	picture, err := os.ReadFile(photo)
	if err != nil {
		return nil, err
	}
	channel, err := connect.To(address)
	if err != nil {
		return nil, err
	}
	defer channel.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	request := &vision.ClassifyRequest{Model: model, Images: [][]byte{picture}, TopK: 5}
	return vision.NewVisionClient(channel).Classify(ctx, request)
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: classify ADDRESS PHOTO [MODEL]")
		os.Exit(2)
	}
	model := "" // the server's only one
	if len(os.Args) > 3 {
		model = os.Args[3]
	}
	answer, err := classify(os.Args[1], os.Args[2], model)
	if err != nil {
		connect.Fail(err)
	}
	for _, class := range answer.Results[0].Classes {
		fmt.Printf("%.4f %s\n", class.Score, class.Label)
	}
}
