package workloads

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"nbdbench/internal/conf"
)

func TestADocumentIsReadAsTheProfileThatItWasMadeOf(t *testing.T) {
	for _, name := range List() {
		p, err := Get(name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := p.Document()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseDocument(conf.Within{File: "run.json"}, text)
		if err != nil {
			t.Fatalf("%s: %v in\n%s", name, err, text)
		}
		if want := p.filled(); !reflect.DeepEqual(again, want) {
			t.Errorf("%s: got\n%+v\nwant\n%+v", name, again, want)
		}
		if twice, err := again.Document(); err != nil || !bytes.Equal(twice, text) {
			t.Errorf("%s: written again it is\n%s\nnot\n%s: %v", name, twice, text, err)
		}
	}
}

func TestADocumentHasWhatAProfileLeavesToItsDefaults(t *testing.T) {
	p, err := Parse("x.yaml", []byte("name: x\ntransaction: [{op: write, size: 4k, pattern: zipf, durable: true}, {op: flush}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.Document()
	want := `{"name":"x","source":"estimate","queue_depth":1,"arrival":"closed","rate":"0/s","think":"0s","transaction":[` +
		`{"op":"write","durable":true,"size":"4KiB","count":1,"parallel":false,"pattern":"zipf","record":"0","theta":0.99},` +
		`{"op":"flush","durable":false,"size":"0","count":1,"parallel":false,"record":"0","theta":0}]}`
	if err != nil || string(text) != want {
		t.Errorf("got  %s\nwant %s: %v", text, want, err)
	}
}

func TestABadDocumentIsRefusedWithItsPlace(t *testing.T) {
	p, err := Get("sync-4k")
	if err != nil {
		t.Fatal(err)
	}
	good, err := p.Document()
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(good), `"op":"write"`, `"op":"sing"`, 1)
	_, err = ParseDocument(conf.Within{File: "run.json", Line: 7, Column: 3, Path: "workloads.sync-4k.profile"}, []byte(text))
	var e *conf.Error
	if !errors.As(err, &e) || e.Line != 7 || !strings.Contains(e.Msg, "workloads.sync-4k.profile.transaction[0].op") {
		t.Errorf("got %v", err)
	}
}

func TestAProfileThatIsNotTheShippedOneIsLabelled(t *testing.T) {
	p, err := Get("sync-4k")
	if err != nil {
		t.Fatal(err)
	}
	other, mine := p, p
	other.Transaction = filledSteps(p.Transaction)
	other.Transaction[0].Size = 8192
	mine.Name = "mine"
	for _, c := range []struct {
		p                Profile
		name, from, want string
	}{
		{p, "sync-4k", "sync-4k", "sync-4k"},
		{p.filled(), "sync-4k@8", "./copy.yaml", "sync-4k@8"},
		{other, "sync-4k@8", "./other.yaml", "sync-4k@8 (modified)"},
		{mine, "mine", "./mine.yaml", "mine (./mine.yaml)"},
	} {
		if got, err := c.p.Label(c.name, c.from); err != nil || got != c.want {
			t.Errorf("got %q, want %q: %v", got, c.want, err)
		}
	}
}
