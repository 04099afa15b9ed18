// Package restbroker pushes jobs to restbroker and waits for answers (docs/producers.md). Copy it; it needs redigo.
package restbroker

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

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
	text, file := os.Getenv("RESTBROKER_TOKEN"), os.Getenv("RESTBROKER_TOKENFILE")
	if file != "" {
		raw, err := os.ReadFile(file)
		if err == nil {
			text, err = secret(raw)
		}
		if err != nil {
			return nil, err
		}
	}
	if strings.TrimSpace(text) == "" || strings.Contains(text, "\x00") || !utf8.ValidString(text) {
		return nil, fmt.Errorf("no token: set RESTBROKER_TOKENFILE to a file that has it, or RESTBROKER_TOKEN")
	}
	return &Client{pool, queue, text}, nil
}

// secret reads a file by restbroker's own rule: docs/tokens.md#how-a-secrets-file-is-read.
func secret(raw []byte) (string, error) {
	var order binary.ByteOrder
	switch first := append(raw[:len(raw):len(raw)], 1, 1); {
	case first[1] == 0 || first[0] == 0xff && first[1] == 0xfe:
		order = binary.LittleEndian
	case first[0] == 0 || first[0] == 0xfe && first[1] == 0xff:
		order = binary.BigEndian
	}
	text := string(raw)
	if order != nil {
		units := make([]uint16, (len(raw)+1)/2)
		err := binary.Read(bytes.NewReader(raw), order, units)
		letters := utf16.Decode(units)
		if err != nil || !reflect.DeepEqual(utf16.Encode(letters), units) {
			return "", fmt.Errorf("the token's file is neither UTF-8 nor UTF-16 text")
		}
		text = string(letters)
	}
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(text, "\ufeff"))
	return strings.TrimRight(text, "\n\u0085\u2028\u2029\x1a"), nil
}

// json.Marshal writes this, and not the letter itself, for bytes that are no text.
var noText = regexp.MustCompile(`(^|[^\\])(\\\\)*\\ufffd`)

// Push queues a job and returns its id. `args` is a map, or a struct; `fields` has "order_key", "idempotency_key", …
func (c *Client) Push(command string, args any, fields map[string]any) (string, error) {
	return c.push(command, args, fields, "jid", "LPUSH", "queue:"+c.queue)
}
func (c *Client) Later(after time.Duration, command string, args any, fields map[string]any) (string, error) {
	return c.push(command, args, fields, "jid", "ZADD", "schedule", time.Now().Add(after).Unix())
}
func (c *Client) Call(command string, args any, fields map[string]any, timeout time.Duration) (*Answer, error) {
	if timeout <= 0 {
		return &Answer{}, fmt.Errorf("the timeout %s is not above 0", timeout)
	}
	jid, err := c.push(command, args, fields, "reply_to", "LPUSH", "queue:"+c.queue)
	if err != nil {
		return &Answer{JID: jid}, err
	}
	return c.Wait(jid, timeout)
}
func (c *Client) Wait(jid string, timeout time.Duration) (*Answer, error) {
	answer, done := &Answer{JID: jid}, map[string]bool{"delivered": true, "negative": true}
	if timeout <= 0 {
		return answer, fmt.Errorf("the timeout %s is not above 0", timeout)
	}
	found, err := redis.ByteSlices(c.do(timeout, "BLPOP", "restbroker:reply:"+jid, timeout.Seconds()+0.001))
	switch {
	case err == redis.ErrNil:
		return answer, fmt.Errorf("%w: no answer to %s within %s", ErrUnknown, jid, timeout)
	case err != nil:
		return answer, fmt.Errorf("%w: %s", ErrUnknown, err)
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
	if noText.Match(raw) {
		err = fmt.Errorf("the job has bytes that are no UTF-8 text")
	}
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
	if _, isReply := err.(redis.Error); err != nil && words[0] != "BLPOP" && connected && !isReply {
		err = fmt.Errorf("%w: %s", ErrUnknown, err)
	}
	return found, err
}
