package main

import (
	"net"
	"net/http"
	"strings"
)

type event struct {
	Type        string         `json:"type"`
	Event       string         `json:"event,omitempty"`
	Name        string         `json:"name,omitempty"`
	MessageID   string         `json:"messageId"`
	Timestamp   string         `json:"timestamp"`
	ReceivedAt  string         `json:"receivedAt"`
	PipelineKey string         `json:"pipelineKey"`
	UserID      string         `json:"userId,omitempty"`
	AnonymousID string         `json:"anonymousId,omitempty"`
	GroupID     string         `json:"groupId,omitempty"`
	Properties  map[string]any `json:"properties,omitempty"`
	Traits      map[string]any `json:"traits,omitempty"`
	Context     eventContext   `json:"context"`
}

type eventContext struct {
	IP        string            `json:"ip,omitempty"`
	UserAgent string            `json:"userAgent,omitempty"`
	Locale    string            `json:"locale,omitempty"`
	Page      *page             `json:"page,omitempty"`
	Campaign  map[string]string `json:"campaign,omitempty"`
	Consent   *consent          `json:"consent,omitempty"`
	Repaired  map[string]string `json:"repaired,omitempty"`
	Library   library           `json:"library"`
}

type page struct {
	URL string `json:"url"`
}

type consent struct {
	GPC bool `json:"gpc,omitempty"`
	DNT bool `json:"dnt,omitempty"`
}

type library struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// fillContext adds what the connection and the headers say.
func fillContext(c *eventContext, r *http.Request) {
	c.IP, _, _ = net.SplitHostPort(r.RemoteAddr)
	c.UserAgent = r.Header.Get("User-Agent")
	language, _, _ := strings.Cut(r.Header.Get("Accept-Language"), ",")
	language, _, _ = strings.Cut(language, ";")
	if language = strings.TrimSpace(language); language != "*" {
		c.Locale = language
	}
	if referer := r.Header.Get("Referer"); referer != "" {
		c.Page = &page{referer}
	}
	gpc, dnt := r.Header.Get("Sec-Gpc") == "1", r.Header.Get("Dnt") == "1"
	if gpc || dnt {
		c.Consent = &consent{gpc, dnt}
	}
	c.Library = library{"pixelcore", "0.1.0"}
}
