# Bank transfers in SQLite: each is one transaction, acknowledged after its COMMIT.
# The check wants all acknowledged transfers, in order, and balances that agree with them.
import os, sqlite3, sys

ACCOUNTS, START = 100, 1000
path = os.path.join(os.environ["NBDBENCH_MOUNT"], "bank.db")


def connect():
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=" + os.environ["SET_JOURNAL_MODE"])
    db.execute("PRAGMA synchronous=" + os.environ["SET_SYNCHRONOUS"])
    return db


def setup():
    db = connect()
    db.execute("CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER)")
    db.execute("CREATE TABLE transfer(id INTEGER PRIMARY KEY, source INTEGER, target INTEGER, amount INTEGER, note TEXT)")
    db.execute("BEGIN")
    db.executemany("INSERT INTO account VALUES(?,?)", [(i, START) for i in range(ACCOUNTS)])
    db.execute("COMMIT")
    db.close()


def parts(n):
    return n * 7919 % ACCOUNTS, (n * 104729 + 1) % ACCOUNTS, n % 10 + 1


def workload():
    db = connect()
    n = db.execute("SELECT COALESCE(MAX(id),0) FROM transfer").fetchone()[0]
    while True:
        n += 1
        source, target, amount = parts(n)
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE account SET balance=balance-? WHERE id=?", (amount, source))
        db.execute("UPDATE account SET balance=balance+? WHERE id=?", (amount, target))
        db.execute("INSERT INTO transfer VALUES(?,?,?,?,?)", (n, source, target, amount, "x" * (n % 500)))
        db.execute("COMMIT")
        os.write(3, b"%d\n" % n)


def corrupt(what):
    print(what)
    sys.exit(2)


def check():
    acked = [int(x) for x in open(os.environ["NBDBENCH_ACKED"]).read().split()]
    try:
        db = connect()
        said = db.execute("PRAGMA integrity_check").fetchone()[0]
        balances = dict(db.execute("SELECT id, balance FROM account"))
        transfers = db.execute("SELECT id, source, target, amount FROM transfer ORDER BY id").fetchall()
    except sqlite3.DatabaseError as e:
        corrupt("sqlite: %s" % e)
    if said != "ok":
        corrupt("integrity_check: " + said)
    want = {i: START for i in range(ACCOUNTS)}
    for k, (n, source, target, amount) in enumerate(transfers, 1):
        if n != k or (source, target, amount) != parts(n):
            corrupt("transfer %d is not the one made" % k)
        want[source] -= amount
        want[target] += amount
    if balances != want:
        corrupt("the balances do not agree with the %d transfers" % len(transfers))
    last = acked[-1] if acked else 0
    if last > len(transfers):
        print("lost=%d" % (last - len(transfers)))
        print("%d transfers were acknowledged, %d are there" % (last, len(transfers)))
        sys.exit(1)


{"setup": setup, "workload": workload, "check": check}[sys.argv[1]]()
