package target

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Command is a shell command that starts a server. Make it with ParseCommand.
type Command struct{ text string }

// variable matches the use of a variable by its name.
func variable(name string) *regexp.Regexp {
	return regexp.MustCompile(`\$(` + name + `\b|\{` + name + `\b)`)
}

var (
	usesSocket   = variable("unixsocket")
	usesStrategy = variable("strategy")
	usesFuamode  = variable("fuamode")
)

// ParseCommand reads a command for sh -c. It has to use $unixsocket.
func ParseCommand(text string) (*Command, error) {
	switch {
	case len(text) > MaxText:
		return nil, fmt.Errorf("expected at most %d bytes, got %d", MaxText, len(text))
	case strings.ContainsRune(text, 0):
		return nil, fmt.Errorf("expected text without NUL")
	case !usesSocket.MatchString(text):
		return nil, fmt.Errorf("expected a shell command that uses $unixsocket, where it is to listen, got %q", text)
	}
	return &Command{text}, nil
}

// String is the command.
func (c *Command) String() string { return c.text }

// Strategies are those that the command can serve: without $strategy and $fuamode
// those of the client alone.
func (c *Command) Strategies() []string {
	all := []string{"pass", "none", "none-grouped", "none-unsafe"}
	if usesStrategy.MatchString(c.text) {
		return append(all, "native", "emulate", "emulate-grouped", "force", "discard")
	}
	if usesFuamode.MatchString(c.text) {
		return append(all, "native", "emulate", "force", "discard")
	}
	return all
}

// Server is the command as it serves a strategy. It gets the strategy's name and the
// fuamode of nbdkit's fua filter that comes to the same, "none" for those that hide
// FUA from the client and empty for emulate-grouped.
func (c *Command) Server(strategy string) Server {
	mode, filtered := fuamodes[strategy]
	switch {
	case filtered && mode == "":
		mode = "none"
	case strategy == "pass":
		mode = "pass"
	}
	return Server{
		name: "the target command",
		args: func(string, string) []string { return []string{"sh", "-c", c.text} },
		env: func(socket string) []string {
			return []string{"unixsocket=" + socket, "strategy=" + strategy, "fuamode=" + mode}
		},
	}
}

// WhoDurable says in words who makes a write durable under a strategy that is the
// server's; empty for the client's.
func (c *Command) WhoDurable(strategy string) string {
	if slices.Contains([]string{"native", "emulate", "emulate-grouped", "force"}, strategy) {
		return "server, run as " + strategy
	}
	return ""
}
