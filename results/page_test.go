package results

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"regexp"
	"strings"
	"testing"

	"nbdbench/sim"
)

// TestThePageRunsItsOwnScriptAlone: the policy has the digest of the script as it
// stands on the page.
func TestThePageRunsItsOwnScriptAlone(t *testing.T) {
	page := string(written(t, smallDocument(t).WriteHTML))
	scripts := regexp.MustCompile(`(?s)<script>(.*?)</script>`).FindAllStringSubmatch(page, -1)
	if len(scripts) != 1 {
		t.Fatalf("%d scripts", len(scripts))
	}
	sum := sha256.Sum256([]byte(scripts[0][1]))
	policy := regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(page)
	if want := "script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; policy == nil || !strings.Contains(html.UnescapeString(policy[1]), want) {
		t.Errorf("expected %s in the policy %q", want, policy)
	}
	for _, bad := range []string{" onclick", "javascript:", "<script src", "<iframe"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
}

// TestThePageIsForReaders: landmarks, captions, scopes, and links that lead somewhere.
func TestThePageIsForReaders(t *testing.T) {
	page := string(written(t, smallDocument(t).WriteHTML))
	for _, want := range []string{"<main>", "<nav aria-label", "<header>", "<footer>", "<caption><span>", `<th scope="col">`, `<th scope="row">`, `<html lang="en">`, "prefers-color-scheme: dark", "@media print"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, m := range regexp.MustCompile(`href="#([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if n := strings.Count(page, fmt.Sprintf("id=%q", m[1])); n != 1 {
			t.Errorf("%d elements have the id %s of a link", n, m[1])
		}
	}
	if !strings.Contains(page, `<td class="wins"><a href="#group0">native</a> <small>then emulate 3.81x`) {
		t.Errorf("no winner with the ratio of the next in\n%.3000s", page[strings.Index(page, "<main>"):])
	}
}

// TestAPageOfManyCells is bounded, and has its rows in closed parts.
func TestAPageOfManyCells(t *testing.T) {
	r := newSmallDocument()
	cells := r.Cells
	r.Cells = nil
	const devices = 2500
	for i := range devices {
		for _, c := range cells[:4] {
			d := *c
			d.Device = fmt.Sprintf("device-with-a-name-of-some-length-%d", i)
			d.ID = d.Device + "/" + d.Workload + "/" + d.Strategy
			r.Add(&d)
		}
	}
	r.conclude()
	var b strings.Builder
	if err := r.writeHTML(&b, nil); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	if n := len(page); n > 20<<20 {
		t.Errorf("%d cells make a page of %d bytes", len(r.Cells), n)
	}
	if n := strings.Count(page, `<details class="cells">`); n != devices {
		t.Errorf("%d closed parts", n)
	}
}

// TestThePageOfAComparison has the rows of the table, and both spectra of each cell.
func TestThePageOfAComparison(t *testing.T) {
	d := Compare(smallDocument(t), smallDocument(t))
	var b strings.Builder
	if err := d.WriteHTML(&b, []string{"old: a", "new: b"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<h2 id=\"cells\">Changes</h2>", "commit.p99", "equivalent", `"name":"old"`, `"name":"new"`, "<svg", "old: a"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(b.String(), `id="winners"`) {
		t.Error("a comparison has no winners")
	}
}

// TestAWinnersCellSaysWhoIsNext: in words that no strategy's name can be taken for.
func TestAWinnersCellSaysWhoIsNext(t *testing.T) {
	at := pointsOn("queue_depth", "1")
	for _, c := range []struct{ strategies, outcome, winner, note string }{
		{"native emulate", OutcomeWins, "native", "then emulate 2.00x"},
		{"none-unsafe", OutcomeNone, "no strategy", ""},
	} {
		r := sweptDocument(at, c.strategies, func(_ At, s string) sim.Duration {
			if s == "emulate" {
				return 2e6
			}
			return 1e6
		})
		w := r.winner(r.groups()[0])
		if w.Class != c.outcome || w.Winner != c.winner || w.Note != c.note {
			t.Errorf("%s: %+v", c.strategies, w)
		}
	}
}
