// A pixel gateway with net/http and franz-go. An event is in memory only until Kafka has it.
package main

import (
	"context"
	"log"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
)

var gif = []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00" +
	"!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;")

var gifHeaders = http.Header{
	"Content-Type":                 {"image/gif"},
	"Cache-Control":                {"no-store, no-cache, must-revalidate"},
	"Pragma":                       {"no-cache"},
	"Expires":                      {"0"},
	"Cross-Origin-Resource-Policy": {"cross-origin"},
	"Access-Control-Allow-Origin":  {"*"},
}

func main() {
	uuid.EnableRandPool()
	producer, err := kgo.NewClient(
		kgo.SeedBrokers(os.Getenv("BOOTSTRAP")),
		kgo.DefaultProduceTopic(os.Getenv("TOPIC")),
		kgo.ProducerLinger(5*time.Millisecond),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
	)
	if err != nil {
		log.Fatal(err)
	}
	delivered := func(_ *kgo.Record, err error) {
		if err != nil {
			log.Print("lost an event: ", err)
		}
	}

	http.HandleFunc("GET /v1/pixel/{type}", func(w http.ResponseWriter, r *http.Request) {
		if key, event, err := build(r.PathValue("type"), r); err != nil {
			log.Print("rejected: ", err)
		} else {
			record := &kgo.Record{Value: event}
			if key != "" {
				record.Key = []byte(key)
			}
			// Not the request's context: the event outlives the request.
			producer.Produce(context.Background(), record, delivered)
		}
		maps.Copy(w.Header(), gifHeaders)
		w.Write(gif)
	})

	server := &http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT")}
	stop, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-stop.Done()
		server.Shutdown(context.Background())
		producer.Flush(context.Background())
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	<-stopped
}
