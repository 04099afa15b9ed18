// The least that keeps a job safe, in Go: take a batch, hand it to workers, settle a batch. No retries, no tokens.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/gomodule/redigo/redis"
)

const batch = 100

var fetch = redis.NewScript(2, `
local jobs = redis.call('RPOP', KEYS[1], ARGV[1])
if not jobs then return {} end
redis.call('LPUSH', KEYS[2], unpack(jobs))
return jobs`)
var finish = redis.NewScript(1, `for _, job in ipairs(ARGV) do redis.call('LREM', KEYS[1], -1, job) end`)

func work(client *http.Client, waiting, done chan []byte) {
	for raw := range waiting {
		var job struct{ Args []json.RawMessage }
		var command string
		if json.Unmarshal(raw, &job) != nil || json.Unmarshal(job.Args[0], &command) != nil {
			panic("unreadable job")
		}
		url := os.Getenv("BENCH_TARGET") + "/" + command
		request, _ := http.NewRequest("POST", url, bytes.NewReader(job.Args[1]))
		request.Header.Set("Content-Type", "application/json")
		request.SetBasicAuth("admin@example.org", "bench")
		answer, err := client.Do(request)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if answer.StatusCode == 200 {
			done <- raw
		}
	}
}

func settle(store redis.Conn, done chan []byte) {
	for raw := range done {
		jobs := redis.Args{"progress", raw}
		for more := true; more && len(jobs) < batch; {
			select {
			case raw := <-done:
				jobs = append(jobs, raw)
			default:
				more = false
			}
		}
		if _, err := finish.Do(store, jobs...); err != nil {
			panic(err)
		}
	}
}

func main() {
	takes, err := redis.DialURL(os.Getenv("BENCH_REDIS"))
	settles, err2 := redis.DialURL(os.Getenv("BENCH_REDIS"))
	if err != nil || err2 != nil {
		panic("no Redis")
	}
	connections, _ := strconv.Atoi(os.Getenv("BENCH_CONCURRENCY"))
	transport := &http.Transport{MaxIdleConnsPerHost: connections}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	waiting, done := make(chan []byte, batch), make(chan []byte, 100*batch)
	for i := 0; i < connections; i++ {
		go work(client, waiting, done)
	}
	go settle(settles, done)
	for {
		jobs, err := redis.ByteSlices(fetch.Do(takes, "queue:rest0", "progress", batch))
		if err != nil {
			panic(err)
		}
		for _, job := range jobs {
			waiting <- job
		}
		if len(jobs) == 0 {
			time.Sleep(10 * time.Millisecond)
		}
	}
}
