// Package restbroker pushes jobs to restbroker and waits for answers (docs/producers.md). Copy it; it needs redigo.
package restbroker

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

// ErrRefused: the job was not done, and is not tried again; the answer's Error says why.
var ErrRefused = fmt.Errorf("the job was not done")

// ErrUnknown: Wait again for the answer's JID. Push the job again only with the same "idempotency_key".
var ErrUnknown = fmt.Errorf("the job may be done, or may still run")

type Answer struct {
	JID, Outcome string
	Answer       json.RawMessage
	Error        struct{ Code, Message, Cure string }
	First        struct{ Outcome string }
	MayHaveRun   bool `json:"may_have_run"`
}

type Client struct {
	redis        *redis.Pool
	queue, token string
}

// New takes the token from the file RESTBROKER_TOKENFILE, else from RESTBROKER_TOKEN.
func New(pool *redis.Pool, queue string) (*Client, error) {
	token, err := os.ReadFile(os.Getenv("RESTBROKER_TOKENFILE"))
	if text := os.Getenv("RESTBROKER_TOKEN"); text != "" && err != nil {
		token, err = []byte(text), nil
	}
	return &Client{pool, queue, strings.TrimSpace(string(token))}, err
}

// Push queues a job and returns its id. `args` is a map, or a struct; `fields` has "order_key", "idempotency_key", …
func (c *Client) Push(command string, args any, fields map[string]any) (string, error) {
	return c.push(command, args, fields, "jid", "LPUSH", "queue:"+c.queue)
}
func (c *Client) Later(after time.Duration, command string, args any, fields map[string]any) (string, error) {
	return c.push(command, args, fields, "jid", "ZADD", "schedule", time.Now().Add(after).Unix())
}
func (c *Client) Call(command string, args any, fields map[string]any, timeout time.Duration) (*Answer, error) {
	jid, err := c.push(command, args, fields, "reply_to", "LPUSH", "queue:"+c.queue)
	if err != nil {
		return &Answer{JID: jid}, err
	}
	return c.Wait(jid, timeout)
}
func (c *Client) Wait(jid string, timeout time.Duration) (*Answer, error) {
	answer, done := &Answer{JID: jid}, map[string]bool{"delivered": true, "negative": true}
	found, err := redis.ByteSlices(c.do(timeout, "BLPOP", "restbroker:reply:"+jid, timeout.Seconds()+0.001))
	switch {
	case err == redis.ErrNil:
		return answer, fmt.Errorf("%w: no answer to %s within %s", ErrUnknown, jid, timeout)
	case err != nil:
		return answer, err
	case json.Unmarshal(found[1], answer) == nil && (done[answer.Outcome] || done[answer.First.Outcome]):
		return answer, nil
	case answer.MayHaveRun || answer.Outcome == "" || answer.Outcome == "uncertain" || answer.Outcome == "duplicate":
		return answer, fmt.Errorf("%w: %s: %s", ErrUnknown, jid, answer.Error.Message)
	}
	return answer, fmt.Errorf("%w: %s: %s %s", ErrRefused, jid, answer.Error.Message, answer.Error.Cure)
}

func (c *Client) push(command string, args any, fields map[string]any, reply string, how ...any) (string, error) {
	id := make([]byte, 12)
	if _, err := rand.Read(id); err != nil {
		return "", err
	}
	jid := fmt.Sprintf("%x", id)
	job := map[string]any{"class": "Restbroker", "queue": c.queue, "retry": true, "created_at": time.Now().Unix()}
	for name, value := range fields {
		job[name] = value
	}
	job["args"], job["jid"], job[reply] = []any{command, args, c.token}, jid, jid
	raw, err := json.Marshal(job)
	if err == nil {
		_, err = c.do(0, append(how, raw)...)
	}
	return jid, err
}

func (c *Client) do(wait time.Duration, words ...any) (any, error) {
	conn := c.redis.Get()
	defer conn.Close()
	connected := conn.Err() == nil // if not, nothing was sent
	found, err := redis.DoWithTimeout(conn, wait+10*time.Second, words[0].(string), words[1:]...)
	if _, isReply := err.(redis.Error); err != nil && (words[0] == "BLPOP" || connected && !isReply) {
		err = fmt.Errorf("%w: %s", ErrUnknown, err)
	}
	return found, err
}
