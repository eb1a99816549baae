//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestServeRun: the command has clients' URI, and its status is that of serve.
func TestServeRun(t *testing.T) {
	for command, want := range map[string]struct {
		code int
		out  string
	}{
		`nbdinfo --size "$uri"`: {0, "1073741824\n"},
		`test -S "$unixsocket" && nbdinfo --size "$uri" && exit 7`: {7, "1073741824\n"},
		`false`: {1, ""},
	} {
		c := program(t, "serve", "ram", "--size", "1GiB", "-q", "--run", command)
		var out strings.Builder
		c.Stdout = &out
		_ = c.Run()
		if code := c.ProcessState.ExitCode(); code != want.code || out.String() != want.out {
			t.Errorf("%s: exit code %d, %q", command, code, out.String())
		}
	}
	if o := invoke("serve", "ram", "--run", ""); o.code != exitUsage {
		t.Errorf("exit code %d", o.code)
	}
	if o := invoke("serve", "nosuch", "--run", "true"); o.code != exitUsage {
		t.Errorf("exit code %d", o.code)
	}
}

// TestServeNotifiesReadiness by the protocol of sd_notify.
func TestServeNotifiesReadiness(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := program(t, "serve", "ram", "--run", "sleep 0.1")
	c.Env = append(c.Environ(), "NOTIFY_SOCKET="+path)
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 64)
	n, err := l.Read(text)
	if err != nil || string(text[:n]) != "READY=1\n" {
		t.Errorf("got %q, %v", text[:n], err)
	}
}

// freeAddress is a loopback address that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestMetricsCountWhatClientsSent: after a load has stopped, they equal the client's.
func TestMetricsCountWhatClientsSent(t *testing.T) {
	at := freeAddress(t)
	script := `PATH=/usr/bin:$PATH nbdsh -u "$uri" -c '
for i in range(7): h.pwrite(b"x"*4096, 4096*i)
for i in range(5): h.pwrite(b"x"*4096, 4096*i, nbd.CMD_FLAG_FUA)
h.flush()
h.pread(512, 0)
' && SCRAPE`
	script = strings.Replace(script, "SCRAPE", `python3 -c 'import urllib.request,sys; r=urllib.request.urlopen("http://`+at+`/metrics"); print(r.headers["Content-Type"]); print(r.read().decode(),end="")'`, 1)
	c := program(t, "serve", "ram", "--metrics", at, "--run", script)
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	got := string(out)
	for _, want := range []string{
		"application/openmetrics-text; version=1.0.0; charset=utf-8",
		`nbdbench_requests_total{op="write",fua="false"} 7`, `nbdbench_requests_total{op="write",fua="true"} 5`,
		`nbdbench_requests_total{op="flush",fua="false"} 1`, `nbdbench_requests_total{op="read",fua="false"} 1`,
		`nbdbench_device_host_written_bytes_total{export=""} 49152`, `nbdbench_at_risk_bytes{export=""} 0`, "# EOF",
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("expected %q in\n%s", want, got)
		}
	}
}

// TestMetricsBearAnyClient: what is no scraper gets an error, and the server goes on.
func TestMetricsBearAnyClient(t *testing.T) {
	at := freeAddress(t)
	c := program(t, "serve", "ram", "--metrics", at)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Process.Signal(os.Interrupt); _ = c.Wait() }()
	if _, err := out.Read(make([]byte, 256)); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"POST /metrics HTTP/1.1\r\n\r\n": "400",
		"GET / HTTP/1.1\r\n\r\n":         "404",
		"\x00\x01\r\n\r\n":               "400",
		"GET /metrics HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 3000): "400",
		"GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n":                     "200",
	} {
		conn, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		_, _ = io.WriteString(conn, text)
		got, _ := io.ReadAll(conn)
		conn.Close()
		if want != "400" && !strings.HasPrefix(string(got), "HTTP/1.1 "+want) || strings.HasPrefix(string(got), "HTTP/1.1 200") != (want == "200") {
			t.Errorf("%.40q: got %.60q, expected %s", text, got, want)
		}
	}
}

// TestPrometheusScrapesUs: Debian's program reads the counters of serve.
func TestPrometheusScrapesUs(t *testing.T) {
	if os.Getenv("NBDBENCH_PROMETHEUS") == "" {
		t.Skip("make prometheus runs this")
	}
	dir, ours, theirs := t.TempDir(), freeAddress(t), freeAddress(t)
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs: [{job_name: nbdbench, static_configs: [{targets: ['%s']}]}]\n", ours)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := exec.Command("prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+theirs, "--log.level=error")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Process.Signal(os.Interrupt); _ = p.Wait() }()
	c := program(t, "serve", "ram", "--metrics", ours, "--run", `PATH=/usr/bin:$PATH nbdsh -u "$uri" -c 'h.pwrite(b"x"*4096, 0, nbd.CMD_FLAG_FUA)' && sleep 60`)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Process.Signal(os.Interrupt); _ = c.Wait() }()
	var got string
	for deadline := time.Now().Add(50 * time.Second); time.Now().Before(deadline); time.Sleep(time.Second / 2) {
		r, err := http.Get("http://" + theirs + `/api/v1/query?query=nbdbench_requests_total%7Bop%3D%22write%22%2Cfua%3D%22true%22%7D`)
		if err != nil {
			continue
		}
		var answer struct {
			Data struct {
				Result []struct{ Value [2]any }
			}
		}
		err = json.NewDecoder(r.Body).Decode(&answer)
		r.Body.Close()
		if err == nil && len(answer.Data.Result) == 1 {
			if got = fmt.Sprint(answer.Data.Result[0].Value[1]); got == "1" {
				return
			}
		}
	}
	t.Errorf("Prometheus has %q FUA writes, expected 1", got)
}
