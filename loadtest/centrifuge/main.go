// A small server on Centrifuge, to measure Tidecast's gateway beside: it reads the same Kafka topic and publishes each
// record into the channel named by its key, with history for clients that come back. It prints "LISTENING host:port",
// and ends when its standard input does.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/centrifugal/centrifuge"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What is kept of each channel for clients that come back.
const (
	historySize = 1_000
	historyLife = 5 * time.Minute
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: centrifuge-peer BOOTSTRAP TOPIC")
	}
	node := newNode()
	go publish(node, os.Args[1], os.Args[2])
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	// Little memory for each connection: what the documentation advises for many of them.
	mux.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		ReadBufferSize:     512,
		UseWriteBufferPool: true,
		CheckOrigin:        func(*http.Request) bool { return true },
	}))
	go func() { log.Fatal(http.Serve(listener, mux)) }()
	fmt.Printf("LISTENING %s\n", listener.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func newNode() *centrifuge.Node {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		log.Fatal(err)
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{UserID: "load"}}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnSubscribe(func(_ centrifuge.SubscribeEvent, answer centrifuge.SubscribeCallback) {
			options := centrifuge.SubscribeOptions{EnableRecovery: true}
			answer(centrifuge.SubscribeReply{Options: options}, nil)
		})
	})
	if err := node.Run(); err != nil {
		log.Fatal(err)
	}
	return node
}

func publish(node *centrifuge.Node, bootstrap, topic string) {
	reader, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(100*time.Millisecond),
	)
	if err != nil {
		log.Fatal(err)
	}
	history := centrifuge.WithHistory(historySize, historyLife)
	for {
		fetches := reader.PollFetches(context.Background())
		fetches.EachError(func(topic string, partition int32, err error) {
			log.Fatalf("%s, partition %d: %v", topic, partition, err)
		})
		fetches.EachRecord(func(record *kgo.Record) {
			if _, err := node.Publish(string(record.Key), record.Value, history); err != nil {
				log.Fatal(err)
			}
		})
	}
}
