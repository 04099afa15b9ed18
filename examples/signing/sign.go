package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"
)

var short = map[rune]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`}

func quoted(text string) string {
	out := `"`
	for _, letter := range text {
		if escaped, ok := short[letter]; ok {
			out += escaped
		} else if letter < ' ' {
			out += fmt.Sprintf(`\u%04x`, letter)
		} else {
			out += string(letter)
		}
	}
	return out + `"`
}

func canonical(value any) string {
	parts := []string{}
	switch found := value.(type) {
	case nil:
		return "null"
	case string:
		return quoted(found)
	case float64:
		return strconv.FormatFloat(found+0, 'f', -1, 64)
	case []any:
		for _, item := range found {
			parts = append(parts, canonical(item))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case map[string]any:
		keys := []string{}
		for key := range found {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		for _, key := range keys {
			parts = append(parts, quoted(key)+":"+canonical(found[key]))
		}
		return "{" + strings.Join(parts, ",") + "}"
	default: // whole numbers, true and false
		return fmt.Sprint(found)
	}
}

// replyID is nil where there is none.
func signed(secret, name, jid, endpoint string, arguments map[string]any, replyID any, queue string) string {
	at := time.Now().Unix()
	text := canonical([]any{"v1q", name, at, jid, endpoint, arguments, replyID, queue})
	made := hmac.New(sha256.New, []byte(secret))
	made.Write([]byte(text))
	return fmt.Sprintf("v1q:%s:%d:%x", name, at, made.Sum(nil))
}

func main() {
	secret, err := os.ReadFile("app_token")
	if err != nil {
		panic(err)
	}
	random := make([]byte, 12)
	if _, err := rand.Read(random); err != nil {
		panic(err)
	}
	jid := hex.EncodeToString(random)
	arguments := map[string]any{"user": "bob", "host": "example.org", "nickname": "Bób/Robert"}
	token := signed(strings.TrimSpace(string(secret)), "app", jid, "set_nickname", arguments, "order-7", "rest")
	args := []any{"set_nickname", arguments, token, "order-7"}
	job, _ := json.Marshal(map[string]any{"class": "Restbroker", "jid": jid, "queue": "rest", "retry": true, "args": args})
	fmt.Println(string(job))
}
