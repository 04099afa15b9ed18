// Takes the steps of a test to examples/clients/restbroker_client.go. Steps and results are JSON.
package main

import (
	"encoding/json"
	"errors"
	"os"
	"time"

	"github.com/gomodule/redigo/redis"
	"restbroker"
)

type result map[string]any

func main() {
	pool := &redis.Pool{Dial: func() (redis.Conn, error) { return redis.DialURL(os.Getenv("REDIS_URL")) }, MaxIdle: 2}
	broker, err := restbroker.New(pool, "rest")
	if err != nil {
		panic(err)
	}
	var steps [][]json.RawMessage
	if err := json.NewDecoder(os.Stdin).Decode(&steps); err != nil {
		panic(err)
	}
	results, last := []result{}, ""
	for _, step := range steps {
		var verb, command, jid string
		var first time.Duration
		var args, fields map[string]any
		for at, into := range []any{&verb, &first, &command, &args, &fields}[:len(step)] {
			if err := json.Unmarshal(step[at], into); err != nil {
				panic(err)
			}
		}
		first *= time.Second
		var answer *restbroker.Answer
		switch verb {
		case "wait":
			answer, err = broker.Wait(last, first)
		case "call":
			answer, err = broker.Call(command, args, fields, first)
		case "later":
			jid, err = broker.Later(first, command, args, fields)
		default:
			jid, err = broker.Push(command, args, fields)
		}
		switch {
		case errors.Is(err, restbroker.ErrRefused):
			results = append(results, result{"refused": err.Error(), "code": answer.Error.Code})
		case errors.Is(err, restbroker.ErrUnknown):
			if last = jid; answer != nil {
				last = answer.JID
			}
			results = append(results, result{"unknown": err.Error(), "jid": last})
		case err != nil:
			panic(err)
		case answer != nil:
			done := result{"outcome": answer.Outcome, "answer": answer.Answer, "first": result{"outcome": answer.First.Outcome}}
			results = append(results, result{"done": done})
		default:
			results = append(results, result{"jid": jid})
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(results); err != nil {
		panic(err)
	}
}
