package kernel

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// database is an application that commits transactions to SQLite, by its own
// shell. Transaction n inserts row n and updates one of a few others.
type database struct {
	journal string // PRAGMA journal_mode
	// synchronous is what SQLite needs to promise durability: with a rollback
	// journal FULL does not sync the directory from which the journal was removed,
	// so that the last transaction may be rolled back (sqlite.org/pragma.html).
	synchronous string

	acked atomic.Uint64
	stop  atomic.Bool
}

// updated is how many rows are updated again and again.
const updated = 7

func (d *database) done() *atomic.Uint64 { return &d.acked }
func (d *database) halt()                { d.stop.Store(true) }

// checkpoints come often enough to be met by power cuts.
func (d *database) pragmas() string {
	return fmt.Sprintf("PRAGMA journal_mode=%s; PRAGMA synchronous=%s; PRAGMA wal_autocheckpoint=30;\n", d.journal, d.synchronous)
}

func (d *database) prepare(mount string) error {
	var rows strings.Builder
	for k := range updated {
		fmt.Fprintf(&rows, "INSERT INTO u VALUES(%d, 0);", k)
	}
	out, err := d.shell(mount, d.pragmas()+"CREATE TABLE t(n INTEGER PRIMARY KEY, x TEXT); CREATE TABLE u(k INTEGER PRIMARY KEY, n INTEGER);"+rows.String())
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return syncDir(mount)
}

// shell runs SQL to its end.
func (d *database) shell(mount, sql string) (string, error) {
	return try("sqlite3", "-bail", filepath.Join(mount, "db"), sql)
}

func (d *database) run(mount string) error {
	c := exec.Command("sqlite3", "-bail", filepath.Join(mount, "db"))
	in, err := c.StdinPipe()
	if err != nil {
		return err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	err = d.transactions(in, bufio.NewScanner(out))
	return errors.Join(err, in.Close(), c.Wait())
}

// transactions has one transaction after another committed. The shell answers
// a SELECT after the COMMIT before it has returned.
func (d *database) transactions(in io.Writer, out *bufio.Scanner) error {
	if _, err := io.WriteString(in, d.pragmas()); err != nil {
		return err
	}
	for n := uint64(1); !d.stop.Load(); n++ {
		_, err := fmt.Fprintf(in, "BEGIN; INSERT INTO t VALUES(%d, printf('%%.*c', %d, 'x')); UPDATE u SET n=%d WHERE k=%d; COMMIT; SELECT 'done', %d;\n",
			n, 100+n*37%3000, n, n%updated, n)
		if err != nil {
			return err
		}
		want := fmt.Sprintf("done|%d", n)
		for out.Scan() && out.Text() != want {
		}
		if out.Text() != want {
			return fmt.Errorf("sqlite3 ended at transaction %d: %w", n, errors.Join(out.Err(), io.ErrUnexpectedEOF))
		}
		d.acked.Store(n)
	}
	return nil
}

func (d *database) lost(mount string, acked uint64) (int, string) {
	// Rows are there from 1 to the last without a gap, each as long as it was
	// made, and what was updated tells of the same last transaction.
	const query = "PRAGMA integrity_check; SELECT count(*), coalesce(max(n), 0), coalesce(sum(length(x) != 100+n*37%3000), 0) FROM t; " +
		"SELECT max(n), sum(n != coalesce((SELECT max(t.n) FROM t WHERE t.n % 7 = k), 0)) FROM u;"
	out, err := d.shell(mount, query)
	var count, last, wrong, updates, stale uint64
	_, scan := fmt.Sscanf(strings.Join(strings.Fields(out), " "), "ok %d|%d|%d %d|%d", &count, &last, &wrong, &updates, &stale)
	switch {
	case err != nil || scan != nil:
		return max(int(acked), 1), fmt.Sprintf("%v: %s", err, out)
	case count != last || wrong > 0 || stale > 0 || updates != last || last > acked+1:
		return 1, fmt.Sprintf("%d transactions were acknowledged; %d rows, the last %d, %d wrong; updates up to %d, %d stale", acked, count, last, wrong, updates, stale)
	case last < acked:
		return int(acked - last), fmt.Sprintf("%d transactions were acknowledged, %d are there", acked, last)
	}
	return 0, ""
}

func TestGuestSQLiteKeepsCommittedTransactionsWhenThePowerGoes(t *testing.T) {
	guestOnly(t)
	var rows table
	for _, d := range []struct{ journal, synchronous string }{{"WAL", "FULL"}, {"DELETE", "EXTRA"}} {
		rows.lose(t, fileSystems[0], "SQLite "+d.journal, func() application {
			return &database{journal: d.journal, synchronous: d.synchronous}
		})
	}
	rows.print("database on ext4")
}
