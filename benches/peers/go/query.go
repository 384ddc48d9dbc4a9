package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"
)

const (
	maxQueryBytes = 8192
	maxParameters = 256
	maxDepth      = 32
	milliseconds  = "2006-01-02T15:04:05.000Z"
)

var (
	campaign = map[string]string{
		"utm_source": "source", "utm_medium": "medium", "utm_campaign": "name", "utm_term": "term", "utm_content": "content",
	}
	keyPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	year2000   = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
)

// decode reads one half of a pair; a query that is escaped wrongly stays as it is, since a pixel refuses nothing.
func decode(text string) string {
	if decoded, err := url.QueryUnescape(text); err == nil {
		return strings.ToValidUTF8(decoded, "\uFFFD")
	}
	return text
}

func trim(text string) string {
	return strings.TrimFunc(text, func(r rune) bool { return unicode.In(r, unicode.White_Space, unicode.Cc, unicode.Cf) })
}

// first keeps what is there already: of a repeated name the first value that is not empty counts.
func first(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

// build makes the event of a request, and the key of its record.
func build(kind string, r *http.Request) (string, []byte, error) {
	if len(r.URL.RawQuery) > maxQueryBytes {
		return "", nil, errors.New("query_too_long")
	}
	now := time.Now().UTC()
	e := event{Type: kind, ReceivedAt: now.Format(milliseconds)}
	var name, ts string
	pairs := 0
	// url.ParseQuery would forget the order of the pairs and drop what it cannot decode.
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		if pair == "" {
			continue
		}
		if pairs++; pairs > maxParameters {
			return "", nil, errors.New("too_many_parameters")
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		parameter, value := strings.TrimPrefix(decode(rawName), "amp;"), decode(rawValue)
		switch parameter {
		case "wk":
			first(&e.PipelineKey, trim(value))
		case "e":
			first(&name, value)
		case "uid":
			first(&e.UserID, trim(value))
		case "aid":
			first(&e.AnonymousID, unquote(trim(value)))
		case "gid":
			first(&e.GroupID, trim(value))
		case "mid":
			first(&e.MessageID, trim(value))
		case "ts":
			first(&ts, value)
		default:
			members := &e.Properties
			path, found := strings.CutPrefix(parameter, "p.")
			if !found {
				members = &e.Traits
				path, found = strings.CutPrefix(parameter, "t.")
			}
			if found {
				if strings.Count(parameter, ".") > maxDepth {
					return "", nil, errors.New("too_deep")
				}
				if *members == nil {
					*members = map[string]any{}
				}
				insert(*members, path, value)
			} else if member, found := campaign[parameter]; found && value != "" {
				if e.Context.Campaign == nil {
					e.Context.Campaign = map[string]string{}
				}
				if _, found := e.Context.Campaign[member]; !found {
					e.Context.Campaign[member] = value
				}
			}
		}
	}
	switch {
	case !keyPattern.MatchString(e.PipelineKey):
		return "", nil, errors.New("missing_key or malformed_key")
	case kind == "track" && name == "":
		return "", nil, errors.New("missing_event")
	case kind == "track":
		e.Event = name
	case kind == "page":
		e.Name = name
	}
	if e.MessageID == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return "", nil, err
		}
		e.MessageID = id.String()
	}
	settleBelow(e.Properties)
	settleBelow(e.Traits)
	fillContext(&e.Context, r)
	e.Timestamp = e.ReceivedAt
	if ts != "" {
		sent, err := strconv.ParseUint(ts, 10, 63)
		at := time.UnixMilli(int64(sent)).UTC()
		if err == nil && !at.Before(year2000) && !at.After(now.Add(23*time.Hour)) {
			e.Timestamp = at.Format(milliseconds)
		} else {
			e.Context.Repaired = map[string]string{"ts": ts}
		}
	}
	value, err := json.Marshal(&e)
	return cmp.Or(e.UserID, e.AnonymousID), value, err
}

// unquote takes off the quotes that AMP puts around a CLIENT_ID.
func unquote(text string) string {
	if len(text) > 1 && text[0] == '"' && text[len(text)-1] == '"' {
		return trim(text[1 : len(text)-1])
	}
	return text
}
