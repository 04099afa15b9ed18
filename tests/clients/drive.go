// Takes the steps of a test to examples/clients/restbroker_client.go. Steps and results are JSON.
package main

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"reflect"
	"time"

	"github.com/gomodule/redigo/redis"
	"restbroker"
)

type result map[string]any

// token returns what a client has read of the file.
func token(file string) result {
	os.Setenv("RESTBROKER_TOKENFILE", file)
	client, err := restbroker.New(nil, "rest")
	if err != nil {
		return result{"error": err.Error()}
	}
	return result{"said": reflect.ValueOf(*client).FieldByName("token").String()}
}

// taken returns the numbers of the odd calls that are no errors, or only once they were pushed.
func taken(broker *restbroker.Client) []int {
	errs := []error{}
	for _, timeout := range []time.Duration{0, -1, math.MinInt64} {
		_, err := broker.Call("c", nil, nil, timeout)
		errs = append(errs, err)
	}
	for _, value := range []any{math.NaN(), []any{math.Inf(1)}, "\xff", "\\\xed\xa0\x80", map[string]any{"\xff": 1}, make(chan int)} {
		_, err := broker.Push("c", map[string]any{"value": value}, nil)
		errs = append(errs, err)
	}
	_, err := broker.Push("c", nil, map[string]any{"expiry": math.NaN()})
	found := []int{}
	for number, err := range append(errs, err) {
		if err == nil || errors.Is(err, restbroker.ErrUnknown) || errors.Is(err, restbroker.ErrRefused) {
			found = append(found, number)
		}
	}
	return found
}

func main() {
	pool := &redis.Pool{Dial: func() (redis.Conn, error) { return redis.DialURL(os.Getenv("LATER")) }, MaxIdle: 2}
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
		var verb, command, jid, file string
		var seconds float64
		var args, fields map[string]any
		into := []any{&verb, &seconds, &command, &args, &fields}
		if json.Unmarshal(step[0], &verb) == nil && verb == "token" {
			into[1] = &file
		}
		for at, into := range into[:len(step)] {
			if err := json.Unmarshal(step[at], into); err != nil {
				panic(err)
			}
		}
		first := time.Duration(seconds * float64(time.Second))
		var answer *restbroker.Answer
		switch verb {
		case "token":
			results = append(results, token(file))
			continue
		case "odd":
			results = append(results, result{"taken": taken(broker)})
			continue
		case "wait":
			if command != "" {
				last = command
			}
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
