// k6 with one module more, k6/x/events: it reads server-sent events as they come, which k6's own HTTP client, reading whole answers, cannot.
package main

import (
	"go.k6.io/k6/cmd"
	"go.k6.io/k6/js/modules"
)

func main() {
	modules.Register("k6/x/events", module{})
	cmd.Execute()
}
