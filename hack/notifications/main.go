package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"golden/notifier"
)

type poster interface {
	Post(context.Context, eventv1.Event) error
}

func main() {
	var body []byte
	var header http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		header = r.Header
	}))
	event := func(severity, message string, metadata map[string]string) eventv1.Event {
		return eventv1.Event{
			InvolvedObject: corev1.ObjectReference{Kind: "Kustomization", Namespace: "flux-system", Name: "apps", UID: "7a3e", APIVersion: "kustomize.toolkit.fluxcd.io/v1", ResourceVersion: "42"},
			Severity: severity, Timestamp: metav1.NewTime(time.Date(2026, 11, 22, 12, 30, 45, 0, time.UTC)),
			Message: message, Reason: "ReconciliationSucceeded", Metadata: metadata,
			ReportingController: "kustomize-controller", ReportingInstance: "fairway-0",
		}
	}
	events := map[string]eventv1.Event{
		"info":  event("info", "Applied revision: main@sha1:abc\n<b>2</b> objects & more", map[string]string{"revision": "main@sha1:abc", "cluster": "prod", "summary": "the shop", "a": "b"}),
		"error": event("error", "health check failed: \"Deployment/web\" ü", nil),
	}
	out := map[string]any{}
	must := func(p poster, err error) poster {
		if err != nil {
			panic(err)
		}
		return p
	}
	for name, e := range events {
		generic, err := notifier.NewForwarder(server.URL, "", map[string]string{"X-Team": "web"}, nil, nil)
		senders := map[string]poster{"generic": must(generic, err)}
		signed, err := notifier.NewForwarder(server.URL, "", nil, nil, []byte("key\n"))
		senders["generic-hmac"] = must(signed, err)
		slack, err := notifier.NewSlack(server.URL, "", "t0ken", nil, "", "general")
		senders["slack"] = must(slack, err)
		teams, err := notifier.NewMSTeams(server.URL, "", nil)
		senders["msteams"] = must(teams, err)
		old, err := notifier.NewMSTeams("http://acme.webhook.office.com/hook", server.URL, nil)
		senders["msteams-connector"] = must(old, err)
		for kind, sender := range senders {
			if err := sender.Post(context.Background(), e); err != nil {
				panic(err)
			}
			var payload any
			if err := json.Unmarshal(body, &payload); err != nil {
				panic(err)
			}
			headers := map[string]string{}
			for _, key := range []string{"Content-Type", "Gotk-Component", "X-Signature", "X-Team", "Authorization"} {
				if header.Get(key) != "" {
					headers[strings.ToLower(key)] = header.Get(key)
				}
			}
			one := map[string]any{"payload": payload, "headers": headers}
			if kind == "generic-hmac" {
				one["body"] = string(body)
			}
			out[kind+" "+name] = one
		}
	}
	text, _ := json.MarshalIndent(out, "", "  ")
	fmt.Fprintln(os.Stdout, string(text))
}
