package nbd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"nbdbench/nbd/nbdtest"
	"nbdbench/sim"
)

// slowExport is an export that notes its sessions.
type slowExport struct {
	log  []string
	fail error
}

func (s *slowExport) note(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

func (s *slowExport) export() *Export {
	dev := nbdtest.NewRAM(sim.NewLoop(), nbdtest.Size)
	return &Export{AnyName: true, Connect: func(_ context.Context, c ConnInfo) (Session, error) {
		s.note("open %s", c.Export)
		if s.fail != nil {
			return Session{}, s.fail
		}
		return Session{Device: dev, Close: func() { s.note("close %s", c.Export) }}, nil
	}, List: func(context.Context, ConnInfo) ([]ExportName, error) {
		s.note("list")
		return []ExportName{{Name: "a"}}, s.fail
	}}
}

// asking is an option with its data; of INFO and GO the data is a name of one byte.
func asking(opt Option, data string) []byte {
	b := binary.BigEndian.AppendUint64(nil, magicOption)
	b = binary.BigEndian.AppendUint32(b, uint32(opt))
	if opt == OptInfo || opt == OptGo {
		data = "\x00\x00\x00\x01" + data + "\x00\x00"
	}
	return append(binary.BigEndian.AppendUint32(b, uint32(len(data))), data...)
}

// feedSlowly has the work done between the steps, as a socket's shell does.
func feedSlowly(h *ServerHandshake, options ...[]byte) (out []byte) {
	all := []byte{0, 0, 0, 3}
	for _, o := range options {
		all = append(all, o...)
	}
	h.Feed(all)
	for h.Work() != nil {
		h.Work()(context.Background())
		h.Feed(nil)
	}
	return h.Output()
}

// A session is one name's, from the first question about it to one about another, to
// TLS, or to the end; options that come meanwhile are answered after it, in order.
func TestASlowExportHasOneSession(t *testing.T) {
	for _, test := range []struct {
		options [][]byte
		tls     TLSPolicy
		want    string
	}{
		{[][]byte{asking(OptInfo, "a"), asking(OptInfo, "a"), asking(OptGo, "a")}, NoTLS, "open a; end true"},
		{[][]byte{asking(OptInfo, "a"), asking(OptGo, "b")}, NoTLS, "open a; close a; open b; end true"},
		{[][]byte{asking(OptInfo, "a"), asking(OptList, ""), asking(OptExportName, "a")}, NoTLS, "open a; list; end true"},
		{[][]byte{asking(OptInfo, "a"), asking(OptStartTLS, "")}, MayTLS, "open a; close a; end false"},
		{[][]byte{asking(OptInfo, "a"), asking(OptAbort, "")}, NoTLS, "open a; end true"},
	} {
		s := &slowExport{}
		h := NewServerHandshake([]*Export{s.export()}, ConnInfo{})
		h.Offer(test.tls)
		feedSlowly(h, test.options...)
		s.note("end %v", h.Done())
		if got := strings.Join(s.log, "; "); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
		h.EndSession()
	}
}

// An error is the answer to one option, escaped; the next one tries again.
func TestASlowExportThatFails(t *testing.T) {
	s := &slowExport{fail: errors.New("no \x1b disk" + strings.Repeat("é", MaxString))}
	h := NewServerHandshake([]*Export{s.export()}, ConnInfo{})
	out := string(feedSlowly(h, asking(OptInfo, "a"), asking(OptGo, "a"), asking(OptList, "")))
	if got := strings.Join(s.log, "; "); got != "open a; open a; list" || h.Done() {
		t.Errorf("%s, done %v", got, h.Done())
	}
	if strings.Count(out, `no \x1b disk`) != 3 || strings.Contains(out, "\x1b") || len(out) > 4*MaxString {
		t.Errorf("%d bytes: %.200q", len(out), out)
	}
	h = NewServerHandshake([]*Export{s.export()}, ConnInfo{})
	feedSlowly(h, asking(OptExportName, "a"))
	if !h.Done() || h.Err() == nil || !strings.HasPrefix(h.Err().Error(), "no ") {
		t.Errorf("EXPORT_NAME: %v", h.Err())
	}
}
