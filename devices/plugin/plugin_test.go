package plugin_test

import (
	"context"
	"fmt"

	"nbdbench/devices/plugin"
)

// A filter copies a Conn and replaces functions.
func ExampleConn() {
	inner := plugin.Conn{Flush: func(context.Context) error { return nil }}
	flushes, counted := 0, inner
	counted.Flush = func(ctx context.Context) error {
		flushes++
		return inner.Flush(ctx)
	}
	fmt.Println(counted.Flush(context.Background()), flushes)
	// Output: <nil> 1
}
