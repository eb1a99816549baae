# Bank transfers in PostgreSQL: each is one transaction, acknowledged after its COMMIT.
# The server runs as an unprivileged user, with data checksums.
import glob, pwd

SETTINGS = ["fsync", "synchronous_commit", "full_page_writes", "wal_sync_method"]
run = os.path.join("/run/nbdbench", "postgres-" + sys.argv[1])


def binary(name):
    for path in [shutil.which(name)] + sorted(glob.glob("/usr/lib/postgresql/*/bin/" + name), reverse=True):
        if path and os.access(path, os.X_OK):
            return os.path.realpath(path) if name != "psql" else path
    sys.exit("no " + name)


def user():
    for name in ["postgres", "nobody"]:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            pass
    sys.exit("no user postgres or nobody")


def demote():
    u = user()
    os.setgroups([])
    os.setgid(u.pw_gid)
    os.setuid(u.pw_uid)


def server():
    shutil.rmtree(run, ignore_errors=True)
    os.mkdir(run, 0o700)
    os.chown(run, user().pw_uid, user().pw_gid)
    pid = os.path.join(data, "postmaster.pid")
    if os.path.exists(pid):  # of a server that the power cut ended
        os.remove(pid)
    args = [binary("postgres"), "-D", data, "-k", run, "-c", "listen_addresses=", "-c", "checkpoint_timeout=30s", "-c", "shared_buffers=16MB"]
    for s in SETTINGS:
        args += ["-c", "%s=%s" % (s, setting(s))]
    p = subprocess.Popen(args, preexec_fn=demote, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, close_fds=True)
    return p


class Session:
    """One psql, to which statements go and from which one line comes for each."""

    def __init__(self, p):
        end = time.monotonic() + 60
        while not os.path.exists(os.path.join(run, ".s.PGSQL.5432")):
            if p.poll() is not None or time.monotonic() > end:
                raise OSError("postgres did not start: " + p.stdout.read().decode(errors="replace")[-2000:])
            time.sleep(0.01)
        deadline = time.monotonic() + 60
        while True:
            self.psql = subprocess.Popen(
                [binary("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", run, "-U", user().pw_name, "postgres"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=demote, cwd="/")
            try:
                self.ask("")
                return
            except OSError:
                if time.monotonic() > deadline or p.poll() is not None:
                    raise
                time.sleep(0.05)

    def ask(self, sql):
        try:
            self.psql.stdin.write(sql + "\n\\echo done\n")
            self.psql.stdin.flush()
        except BrokenPipeError:
            pass
        lines = []
        for line in self.psql.stdout:
            if line == "done\n":
                return lines
            lines.append(line.strip())
        raise OSError(self.psql.stderr.read())


def setup():
    os.chown(mount, user().pw_uid, user().pw_gid)
    os.mkdir(data, 0o700)
    os.chown(data, user().pw_uid, user().pw_gid)
    subprocess.run([binary("initdb"), "-D", data, "-k", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
                   check=True, preexec_fn=demote, stdout=subprocess.DEVNULL, cwd="/")
    p = server()
    s = Session(p)
    s.ask("CREATE TABLE account(id int PRIMARY KEY, balance int); CREATE TABLE transfer(id int PRIMARY KEY, source int, target int, amount int, note text);")
    s.ask("INSERT INTO account SELECT i, %d FROM generate_series(0,%d) i; CHECKPOINT;" % (START, ACCOUNTS - 1))
    s.psql.stdin.close()
    p.terminate()
    p.wait()


def workload():
    s = Session(server())
    n = int(s.ask("SELECT COALESCE(MAX(id),0) FROM transfer;")[0])
    while True:
        n += 1
        source, target, amount = parts(n)
        s.ask("BEGIN; UPDATE account SET balance=balance-%d WHERE id=%d; UPDATE account SET balance=balance+%d WHERE id=%d; "
              "INSERT INTO transfer VALUES(%d,%d,%d,%d,'%s'); COMMIT;" % (amount, source, amount, target, n, source, target, amount, "x" * (n % 500)))
        os.write(3, b"%d\n" % n)


def check():
    p = server()
    try:
        s = Session(p)
        balances = {int(a): int(b) for a, b in (r.split("|") for r in s.ask("SELECT id, balance FROM account;"))}
        transfers = [tuple(map(int, r.split("|"))) for r in s.ask("SELECT id, source, target, amount FROM transfer ORDER BY id;")]
    except OSError as e:
        corrupt("postgres: %s" % e)
    finally:
        p.send_signal(signal.SIGQUIT)  # an immediate shutdown, which waits for the children
        p.wait()
    judge(balances, transfers)


{"setup": setup, "workload": workload, "check": check}[sys.argv[1]]()
