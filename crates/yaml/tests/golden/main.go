// Fills in what the real libraries answer: reads the lines of emit.jsonl or read.jsonl and writes them anew.
//
//	go run . <emit.jsonl >new && mv new emit.jsonl
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"strconv"

	yaml3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// A line has either a value and its YAML, or a text and what two readers make of it. Absent is an error.
type line struct {
	Value     json.RawMessage `json:"value,omitempty"`
	YAML      string          `json:"yaml,omitempty"`
	Text      *string         `json:"text,omitempty"`
	Kustomize json.RawMessage `json:"kustomize,omitempty"`
	Kubectl   json.RawMessage `json:"kubectl,omitempty"`
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<24)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for in.Scan() {
		var l line
		check(json.Unmarshal(in.Bytes(), &l))
		if l.Text == nil {
			l.YAML = emit(l.Value)
		} else {
			l.Kustomize, l.Kubectl = kustomize(*l.Text), kubectl(*l.Text)
		}
		check(out.Encode(l))
	}
	check(in.Err())
}

// emit is the way of a resource through kustomize: Go value, JSON, YAML.
func emit(value json.RawMessage) string {
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber()
	var v any
	check(decoder.Decode(&v))
	out, err := yaml.Marshal(held(v))
	if err != nil {
		return ""
	}
	return string(out)
}

// held is the value as a Go program holds it: numbers are integers or floats, not text.
func held(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = held(v[k])
		}
	case []any:
		for i := range v {
			v[i] = held(v[i])
		}
	case json.Number:
		if i, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return i
		}
		if u, err := strconv.ParseUint(v.String(), 10, 64); err == nil {
			return u
		}
		f, err := v.Float64()
		check(err)
		return f
	}
	return v
}

func kustomize(text string) json.RawMessage {
	var v any
	if yaml3.Unmarshal([]byte(text), &v) != nil {
		return nil
	}
	out, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return out
}

func kubectl(text string) json.RawMessage {
	out, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return nil
	}
	return out
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
