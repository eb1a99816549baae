package kernel

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// shell is a client program that is given lines and answers by lines.
type shell struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
	err bytes.Buffer
}

func openShell(c *exec.Cmd) (*shell, error) {
	s := &shell{cmd: c}
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.in, s.out, c.Stderr = in, bufio.NewScanner(out), &s.err
	return s, c.Start()
}

// ask has the program run text, and waits for the line by which it answers its end.
func (s *shell) ask(text, answer string) error {
	if _, err := io.WriteString(s.in, text+"\n"); err != nil {
		return fmt.Errorf("%w: %s", err, &s.err)
	}
	for s.out.Scan() {
		if s.out.Text() == answer {
			return nil
		}
	}
	return fmt.Errorf("%s ended: %w: %s", s.cmd.Path, errors.Join(s.out.Err(), io.ErrUnexpectedEOF), &s.err)
}

func (s *shell) close() error {
	if err := errors.Join(s.in.Close(), s.cmd.Wait()); err != nil {
		return fmt.Errorf("%s: %w: %s", s.cmd.Path, err, &s.err)
	}
	return nil
}

// server starts a program that stays, and returns how to end it.
func server(c *exec.Cmd) (end func() error, said *bytes.Buffer, err error) {
	said = new(bytes.Buffer)
	c.Stdout, c.Stderr = said, said
	if err := c.Start(); err != nil {
		return nil, nil, err
	}
	return func() error {
		if err := c.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		_ = c.Wait() // with a code of its own for the signal
		return nil
	}, said, nil
}

// attempts bounds how often a server is asked whether it is there.
const attempts = 600

// until asks again and again, for as long as a server may take to start.
func until(ready func() error) (err error) {
	for range attempts {
		if err = ready(); err == nil {
			return nil
		}
		time.Sleep(200 * time.Millisecond)
	}
	return err
}

// firstLine is what a program says of its version.
func firstLine(t *testing.T, args ...string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(sh(t, args...)), "\n")
	return line
}

// The statements of a transaction in SQL: a row is inserted and another is changed.
const (
	sqlTables = "CREATE TABLE t(n INTEGER PRIMARY KEY, x CHAR(100)); CREATE TABLE u(k INTEGER PRIMARY KEY, n INTEGER); " +
		"INSERT INTO u VALUES(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0);"
	sqlCommit = "BEGIN; INSERT INTO t VALUES(%d, 'a row of a hundred bytes, of which most are blanks'); UPDATE u SET n=%d WHERE k=%d; COMMIT;"
	sqlText   = "a transaction inserts a row and updates another"
)

func sqlTransaction(n int) string { return fmt.Sprintf(sqlCommit, n, n, n%7) }

// subjects are what is captured.
func subjects() []subject {
	return slices.Concat(sqlite(), postgres(), mariadb(), redis(), etcd(), lmdb(), rocksdb(), ownFiles())
}

func sqlite() (all []subject) {
	for _, s := range []struct{ name, journal, synchronous string }{{"sqlite-delete", "DELETE", "FULL"}, {"sqlite-wal", "WAL", "FULL"}} {
		all = append(all, subject{
			name: s.name, first: 600, settings: fmt.Sprintf("journal_mode=%s, synchronous=%s; %s", s.journal, s.synchronous, sqlText),
			open: func(t *testing.T, dir string) (*session, error) { return openSQLite(t, dir, s.journal, s.synchronous) },
		})
	}
	return append(all, subject{
		name: "sqlite-wal-normal", first: 5, count: 50, open: openCheckpoints,
		settings: "journal_mode=WAL, synchronous=NORMAL; 100 transactions and a checkpoint; " + sqlText,
	})
}

// together is how many transactions are between two checkpoints.
const together = 100

// openCheckpoints is SQLite without a sync for each transaction: what is captured as a
// commit is some of them and the checkpoint that makes them durable.
func openCheckpoints(t *testing.T, dir string) (*session, error) {
	s, err := openSQLite(t, dir, "WAL", "NORMAL")
	if err != nil {
		return nil, err
	}
	one := s.commit
	s.commit = func(n int) (err error) {
		for k := range together {
			err = errors.Join(err, one(n*together+k))
		}
		return errors.Join(err, s.sql("PRAGMA wal_checkpoint;"))
	}
	s.steady = nil
	return s, s.sql("PRAGMA wal_autocheckpoint=0;")
}

func openSQLite(t *testing.T, dir, journal, synchronous string) (*session, error) {
	s, err := openShell(exec.Command("sqlite3", "-bail", filepath.Join(dir, "db")))
	if err != nil {
		return nil, err
	}
	commit := func(text string) error { return s.ask(text+" SELECT 'done';", "done") }
	err = commit(fmt.Sprintf("PRAGMA journal_mode=%s; PRAGMA synchronous=%s; %s", journal, synchronous, sqlTables))
	return &session{
		program: "SQLite " + strings.Fields(firstLine(t, "sqlite3", "--version"))[0], command: "sqlite3 db",
		commit: func(n int) error { return commit(sqlTransaction(n)) },
		sql:    commit,
		close:  s.close,
		// Then the WAL has blocks that are written again, as it has most of the time.
		steady: func() error { return commit("PRAGMA wal_checkpoint(RESTART); " + sqlTransaction(1<<20)) },
	}, err
}

// The tables and the transaction of TPC-B, as pgbench has them, with fewer accounts.
const (
	tpcbTables = "CREATE TABLE accounts(aid int PRIMARY KEY, bid int, abalance int, filler char(84)); CREATE TABLE tellers(tid int PRIMARY KEY, tbalance int); " +
		"CREATE TABLE branches(bid int PRIMARY KEY, bbalance int); CREATE TABLE history(tid int, bid int, aid int, delta int, mtime timestamp, filler char(22)); " +
		"INSERT INTO accounts SELECT n, 0, 0, '' FROM generate_series(0, 999) n; INSERT INTO tellers SELECT n, 0 FROM generate_series(0, 9) n; INSERT INTO branches VALUES(0, 0);"
	tpcb = "BEGIN; UPDATE accounts SET abalance=abalance+1 WHERE aid=%d; SELECT abalance FROM accounts WHERE aid=%[1]d; UPDATE tellers SET tbalance=tbalance+1 WHERE tid=%[2]d; " +
		"UPDATE branches SET bbalance=bbalance+1 WHERE bid=0; INSERT INTO history VALUES(%[2]d, 0, %[1]d, 1, CURRENT_TIMESTAMP); END;"
	tpcbText = "a transaction of TPC-B"
)

func tpcbTransaction(n int) string { return fmt.Sprintf(tpcb, n*7919%1000, n%10) }

// asPostgres is a program of PostgreSQL, run by the user of its package: it refuses
// root.
func asPostgres(program string, args ...string) *exec.Cmd {
	c := exec.Command("/usr/lib/postgresql/15/bin/"+program, args...)
	u, err := user.Lookup("postgres")
	if err != nil {
		c.Err = err
		return c
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32) // they are numbers
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	c.Env = append(os.Environ(), "HOME=/tmp", "LC_ALL=C", "TZ=Etc/UTC", "PGTZ=Etc/UTC")
	c.Dir = "/tmp"
	return c
}

func postgres() (all []subject) {
	for _, s := range []struct{ name, settings string }{
		{"postgres-wal", "wal_sync_method=fdatasync"},
		{"postgres-wal-dsync", "wal_sync_method=open_datasync wal_level=minimal max_wal_senders=0"},
		{"postgres-wal-dsync-buffered", "wal_sync_method=open_datasync wal_level=replica"},
	} {
		all = append(all, subject{
			name: s.name, first: 100, settings: s.settings + "; " + tpcbText,
			open: func(t *testing.T, dir string) (*session, error) { return openPostgres(t, dir, s.settings) },
			vm:   s.name == "postgres-wal-dsync", // its direct writes have FUA where the device does
		})
	}
	return all
}

// quiet keeps PostgreSQL's checkpoints, its background writer and autovacuum away.
const quiet = "autovacuum=off checkpoint_timeout=1d max_wal_size=10GB bgwriter_lru_maxpages=0 listen_addresses= unix_socket_directories=/tmp log_timezone=Etc/UTC timezone=Etc/UTC"

func openPostgres(t *testing.T, dir, settings string) (*session, error) {
	data := filepath.Join(dir, "pg")
	if out, err := asPostgres("initdb", "--no-sync", "--locale=C", "-A", "trust", "-D", data).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	args := []string{"-D", data}
	for word := range strings.FieldsSeq(settings + " " + quiet) {
		args = append(args, "-c", word)
	}
	end, said, err := server(asPostgres("postgres", args...))
	if err != nil {
		return nil, err
	}
	psql := []string{"-X", "-q", "-A", "-t", "-h", "/tmp", "-d", "postgres"}
	err = until(func() error { return asPostgres("psql", append(psql, "-c", tpcbTables)...).Run() })
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, said)
	}
	s, err := openShell(asPostgres("psql", psql...))
	if err != nil {
		return nil, err
	}
	commit := func(text string) error { return s.ask(text+" SELECT 'done';", "done") }
	return &session{
		program: "PostgreSQL " + strings.Fields(firstLine(t, "/usr/lib/postgresql/15/bin/postgres", "--version"))[2], command: "postgres, psql",
		commit: func(n int) error { return commit(tpcbTransaction(n)) },
		close:  func() error { return errors.Join(s.close(), end()) },
		// Each page is whole in the WAL once after a checkpoint: that is over by then.
		steady: func() error {
			err := commit("CHECKPOINT;")
			for n := range 1000 {
				err = errors.Join(err, commit(tpcbTransaction(n)))
			}
			return err
		},
		logged: func() (n uint64, err error) {
			out, err := asPostgres("psql", append(psql, "-c", "SELECT pg_current_wal_lsn() - '0/0'")...).Output()
			if err == nil {
				_, err = fmt.Sscan(string(out), &n)
			}
			return n, err
		},
	}, commit("SELECT 1;")
}

func mariadb() []subject {
	return []subject{{
		name: "innodb", first: 100, open: openMariaDB,
		settings: "innodb_flush_log_at_trx_commit=1, sync_binlog=1, binary log on; " + sqlText,
	}}
}

func openMariaDB(t *testing.T, dir string) (*session, error) {
	data := "--datadir=" + filepath.Join(dir, "data")
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o755); err != nil {
		return nil, err
	}
	boot := exec.Command("mariadbd", "--no-defaults", "--bootstrap", "--user=root", data)
	sql := "CREATE DATABASE mysql;\nUSE mysql;\n"
	for _, file := range []string{"mysql_system_tables", "mysql_system_tables_data"} {
		text, err := os.ReadFile("/usr/share/mysql/" + file + ".sql")
		if err != nil {
			return nil, err
		}
		sql += string(text) + "\n"
	}
	boot.Stdin = strings.NewReader(sql + "CREATE DATABASE test;\n")
	if out, err := boot.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mariadbd --bootstrap: %w\n%s", err, out)
	}
	end, said, err := server(exec.Command("mariadbd", "--no-defaults", "--user=root", data, "--skip-networking", "--skip-grant-tables", "--socket=/tmp/mariadb",
		"--innodb-log-file-size=4M", "--log-bin", "--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"))
	if err != nil {
		return nil, err
	}
	client := []string{"--no-defaults", "--socket=/tmp/mariadb", "--batch", "--skip-column-names", "--unbuffered", "test"}
	if err := until(func() error { return exec.Command("mariadb", append(client, "-e", "SELECT 1")...).Run() }); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, said)
	}
	s, err := openShell(exec.Command("mariadb", client...))
	if err != nil {
		return nil, err
	}
	commit := func(text string) error { return s.ask(text+" SELECT 'done';", "done") }
	return &session{
		program: "MariaDB " + strings.Fields(firstLine(t, "mariadbd", "--version"))[2], command: "mariadbd --log-bin --sync-binlog=1 --innodb-flush-log-at-trx-commit=1, mariadb",
		commit: func(n int) error { return commit(sqlTransaction(n)) },
		close:  func() error { return errors.Join(s.close(), end()) },
		// The redo log is allocated and not written at first: once it has come to its end
		// and begun again, its blocks are there. Then the pages are written back.
		steady: func() error {
			err := commit("CREATE TABLE big(x LONGBLOB);")
			for range 12 {
				err = errors.Join(err, commit("INSERT INTO big VALUES(REPEAT('x', 1000000));"))
			}
			return errors.Join(err, commit("SET GLOBAL innodb_max_dirty_pages_pct=0; SELECT SLEEP(5); SET GLOBAL innodb_max_dirty_pages_pct=90;"))
		},
	}, commit(sqlTables)
}

func redis() (all []subject) {
	for _, s := range []struct{ name, fsync string }{{"redis-aof-always", "always"}, {"redis-aof-everysec", "everysec"}} {
		sets, count, what := 1, 0, "64 bytes are set"
		if s.fsync == "everysec" {
			sets, count, what = 1000, 20, "1000 keys of 64 bytes are set, every two seconds"
		}
		all = append(all, subject{
			name: s.name, first: 10, count: count, settings: "appendonly yes, appendfsync " + s.fsync + "; " + what,
			open: func(t *testing.T, dir string) (*session, error) { return openRedis(t, dir, s.fsync, sets) },
		})
	}
	return all
}

func openRedis(t *testing.T, dir, fsync string, sets int) (*session, error) {
	end, said, err := server(exec.Command("redis-server", "--dir", dir, "--port", "0", "--unixsocket", "/tmp/redis", "--save", "", "--appendonly", "yes", "--appendfsync", fsync))
	if err != nil {
		return nil, err
	}
	var conn net.Conn
	if err := until(func() (err error) { conn, err = net.Dial("unix", "/tmp/redis"); return err }); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, said)
	}
	replies := bufio.NewReader(conn)
	return &session{
		program: "Redis " + strings.TrimPrefix(strings.Fields(firstLine(t, "redis-server", "--version"))[2], "v="), command: "redis-server --save '' --appendonly yes --appendfsync " + fsync,
		commit: func(n int) error {
			var command bytes.Buffer
			fmt.Fprintf(&command, "*%d\r\n$4\r\nMSET\r\n", 1+2*sets)
			for k := range sets {
				fmt.Fprintf(&command, "$16\r\nkey:%012d\r\n$64\r\n%064d\r\n", n*sets+k, n)
			}
			if _, err := command.WriteTo(conn); err != nil {
				return err
			}
			if reply, err := replies.ReadString('\n'); err != nil || reply != "+OK\r\n" {
				return fmt.Errorf("MSET: got %q: %w", reply, err)
			}
			if fsync == "everysec" { // so that the last sync is more than a second ago
				time.Sleep(2*time.Second + 100*time.Millisecond)
			}
			return nil
		},
		close: func() error { return errors.Join(conn.Close(), end()) },
	}, nil
}

func etcd() []subject {
	return []subject{{
		name: "etcd", first: 50, open: openEtcd,
		settings: "the store's commits, every 100 ms, put off; a Put of a value of 2200 bytes",
	}}
}

func openEtcd(t *testing.T, dir string) (*session, error) {
	const url = "http://127.0.0.1:2379"
	end, said, err := server(exec.Command("etcd", "--data-dir", filepath.Join(dir, "etcd"), "--backend-batch-interval", "10h", "--backend-batch-limit", "1000000",
		"--heartbeat-interval", "1000", "--election-timeout", "10000"))
	if err != nil {
		return nil, err
	}
	put := func(n int) error {
		key, value := fmt.Sprintf("key%08d", n), strings.Repeat("v", 2200)
		body := fmt.Sprintf(`{"key":%q,"value":%q}`, base64.StdEncoding.EncodeToString([]byte(key)), base64.StdEncoding.EncodeToString([]byte(value)))
		reply, err := http.Post(url+"/v3/kv/put", "application/json", strings.NewReader(body))
		if err != nil {
			return err
		}
		text, err := io.ReadAll(reply.Body)
		if err = errors.Join(err, reply.Body.Close()); err == nil && reply.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", reply.Status, text)
		}
		return err
	}
	if err := until(func() error { return put(0) }); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, said)
	}
	return &session{
		program: "etcd " + strings.Fields(firstLine(t, "etcd", "--version"))[2], command: "etcd --backend-batch-interval 10h --backend-batch-limit 1000000",
		commit: put, close: end,
	}, nil
}

// python is that of Debian's packages, whatever else PATH has.
const python = "/usr/bin/python3"

// lmdbScript commits one key for each line that it is given.
const lmdbScript = `
import sys, lmdb
print(lmdb.__version__, ".".join(map(str, lmdb.version())), flush=True)
env = lmdb.open(sys.argv[1], map_size=1 << 28)
for line in sys.stdin:
    with env.begin(write=True) as txn:
        txn.put(b"%08d" % (int(line) * 7919 % 100003), b"v" * 100)
    print("done", flush=True)
`

func lmdb() []subject {
	return []subject{{name: "lmdb", first: 300, settings: "no flags; a put of 100 bytes", open: openLMDB}}
}

func openLMDB(t *testing.T, dir string) (*session, error) {
	s, err := openShell(exec.Command(python, "-c", lmdbScript, filepath.Join(dir, "db")))
	if err != nil {
		return nil, err
	}
	if !s.out.Scan() {
		return nil, errors.Join(errors.New("python3 said nothing"), s.close())
	}
	version := strings.Fields(s.out.Text())
	return &session{
		program: "LMDB " + version[1] + ", python3-lmdb " + version[0], command: "python3",
		commit: func(n int) error { return s.ask(fmt.Sprint(n), "done") },
		close:  s.close,
	}, nil
}

func rocksdb() []subject {
	return []subject{{
		name: "rocksdb", first: 50, open: openRocksDB,
		settings: "sync, no compaction in progress; a put of 16 and 400 bytes",
	}}
}

func openRocksDB(t *testing.T, dir string) (*session, error) {
	const command = "db_bench --benchmarks=fillrandom --sync --threads=1 --key_size=16 --value_size=400 --compression_type=none --disable_auto_compactions"
	return &session{
		program: "RocksDB " + strings.TrimPrefix(firstLine(t, "ldb", "--version"), "ldb from RocksDB "), command: command,
		all: func(n int) error {
			args := append(strings.Fields(command), "--db="+filepath.Join(dir, "db"), fmt.Sprintf("--num=%d", n))
			out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
			if err != nil {
				return fmt.Errorf("db_bench: %w\n%s", err, out)
			}
			return nil
		},
		close: func() error { return nil },
	}, nil
}

// ownFiles are file systems, under an application of one file operation and one fsync.
func ownFiles() []subject {
	overwrite := "8 KiB of a file that is there are written, and fsync"
	fast := system{make: []string{"mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-O", "fast_commit"}}
	return []subject{
		{name: "ext4-fsync", settings: overwrite, open: filesOf(overwriteOf(unix.Fsync)), first: 20},
		{name: "ext4-fdatasync", settings: "8 KiB of a file that is there are written, and fdatasync", open: filesOf(overwriteOf(unix.Fdatasync)), first: 20},
		{name: "ext4-data-journal", settings: overwrite, open: filesOf(overwriteOf(unix.Fsync)), first: 20, system: system{options: "data=journal"}},
		{name: "ext4-fast-commit", settings: overwrite, open: filesOf(overwriteOf(unix.Fsync)), first: 20, system: fast},
		{name: "ext4-create", settings: "a new file of 4 KiB is written, and fsync", open: filesOf(create), first: 20},
		{name: "ext4-create-delete", settings: "a new file of 4 KiB is written, fsync, and an older one is unlinked", open: filesOf(createDelete), first: 20},
		{name: "xfs-log", settings: overwrite, open: filesOf(overwriteOf(unix.Fsync)), first: 20, system: system{kind: "xfs"}},
		{name: "btrfs-tree-log", settings: overwrite, open: filesOf(overwriteOf(unix.Fsync)), first: 20, system: system{kind: "btrfs"}},
		{name: "btrfs-commit", settings: "8 KiB of a file that is there are written, and syncfs", open: filesOf(overwriteOf(unix.Syncfs)), first: 20, system: system{kind: "btrfs"}},
	}
}

// filesOf is an application that does one thing again and again in a directory.
func filesOf(do func(dir string, n int) error) func(*testing.T, string) (*session, error) {
	return func(_ *testing.T, dir string) (*session, error) {
		err := synced(filepath.Join(dir, "old"), os.O_CREATE|os.O_WRONLY, 0, make([]byte, oldSize))
		return &session{
			program: "no program", command: "none", commit: func(n int) error { return do(dir, n) },
			close: func() error { return nil },
		}, err
	}
}

// oldSize is the length of the file that is overwritten.
const oldSize = 1 << 20

// tick is longer than one of the kernel's clock, by which files have their times: without
// a new one fsync has no inode to commit.
const tick = 10 * time.Millisecond

// overwriteOf writes 8 KiB somewhere in a file that is there, and syncs it.
func overwriteOf(sync func(fd int) error) func(dir string, n int) error {
	return func(dir string, n int) error {
		f, err := os.OpenFile(filepath.Join(dir, "old"), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		time.Sleep(tick)
		_, err = f.WriteAt(content(uint64(n), 8<<10), int64(n*7919%(oldSize>>13))<<13)
		return errors.Join(err, sync(int(f.Fd())), f.Close())
	}
}

func create(dir string, n int) error {
	return synced(filepath.Join(dir, fmt.Sprintf("file%d", n)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0, content(uint64(n), 4<<10))
}

func createDelete(dir string, n int) error {
	err := create(dir, n)
	if n >= 10 {
		err = errors.Join(err, os.Remove(filepath.Join(dir, fmt.Sprintf("file%d", n-10))))
	}
	return err
}
