package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/grafana/sobek"
	"go.k6.io/k6/js/modules"
)

// An event that is longer is an error: what a server sends has an end.
const maxEventBytes = 4 << 20

type module struct{}

func (module) NewModuleInstance(vu modules.VU) modules.Instance { return &instance{vu: vu} }

type instance struct{ vu modules.VU }

func (i *instance) Exports() modules.Exports {
	return modules.Exports{Named: map[string]any{"readEvents": i.readEvents}}
}

type request struct {
	Headers   map[string]string `js:"headers"`
	Body      string            `js:"body"`
	TimeoutMs int64             `js:"timeoutMs"`
}

type result struct {
	// Zero without an answer.
	Status int `js:"status"`
	// Why there was no answer, or why it broke off: "timeout", or what the network said; empty when the server ended it.
	Error string `js:"error"`
}

type event struct {
	Data string `js:"data"`
	// Whether it is only a comment, such as a server's keep-alive.
	IsComment bool `js:"isComment"`
}

// readEvents posts a request and gives each event of the answer to onEvent, which hangs up by returning true.
// It returns when the answer has ended.
func (i *instance) readEvents(url string, asked request, onEvent sobek.Value) (*result, error) {
	state := i.vu.State()
	if state == nil {
		return nil, errors.New("readEvents needs a virtual user: not in the init context")
	}
	take, ok := sobek.AssertFunction(onEvent)
	if !ok {
		return nil, errors.New("readEvents: the third argument is no function")
	}
	ctx, cancel := context.WithTimeout(i.vu.Context(), time.Duration(asked.TimeoutMs)*time.Millisecond)
	defer cancel()
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(asked.Body))
	if err != nil {
		return nil, err
	}
	for name, value := range asked.Headers {
		post.Header.Set(name, value)
	}
	response, err := (&http.Client{Transport: state.Transport}).Do(post)
	if err != nil {
		return &result{Error: said(ctx, err)}, nil
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return &result{Status: response.StatusCode}, nil
	}
	runtime := i.vu.Runtime()
	var thrown error
	err = scan(response.Body, func(found event) bool {
		var enough sobek.Value
		enough, thrown = take(sobek.Undefined(), runtime.ToValue(found))
		return thrown != nil || enough.ToBoolean()
	})
	if thrown != nil {
		return nil, thrown
	}
	if err != nil {
		return &result{Status: response.StatusCode, Error: said(ctx, err)}, nil
	}
	return &result{Status: response.StatusCode}, nil
}

func said(ctx context.Context, err error) string {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return "timeout"
	}
	return err.Error()
}

// scan splits a stream into its events (WHATWG HTML, "Interpreting an event stream"), of which data and comments are kept.
func scan(body io.Reader, take func(event) bool) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 0, 4<<10), maxEventBytes)
	var data []string
	bytes := 0
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			if data != nil && take(event{Data: strings.Join(data, "\n")}) {
				return nil
			}
			data, bytes = nil, 0
			continue
		}
		if strings.HasPrefix(line, ":") {
			if take(event{IsComment: true}) {
				return nil
			}
			continue
		}
		if value, found := strings.CutPrefix(line, "data:"); found {
			data = append(data, strings.TrimPrefix(value, " "))
			if bytes += len(value); bytes > maxEventBytes {
				return bufio.ErrTooLong
			}
		}
	}
	return lines.Err()
}
