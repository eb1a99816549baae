package interop

import (
	"encoding/json"
	"strings"
	"testing"
)

// fioJob writes each block once, at random, 16 in flight and with a flush
// between every 64, and then reads all of it and checks the checksums.
const fioJob = "--name=verified --ioengine=nbd --rw=randwrite --bs=4k --iodepth=16 --size=16M --fsync=64 " +
	"--verify=crc32c --do_verify=1 --verify_fatal=1 --verify_state_save=0 --randseed=1 --output-format=json"

// fioBlocks are the job's writes, and the reads that check them.
const fioBlocks = 16 << 20 / 4096

func TestFioVerifiesItsRandomWrites(t *testing.T) {
	need(t, "fio")
	for _, args := range []string{
		"ram", "nvme-990pro", "nvme-990pro --strategy emulate", "nvme-990pro --strategy none --delay 100us", "nvme-pm963",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			s := serve(t, append(strings.Fields(args), "--size", "64MiB")...)
			fio(t, s.uri)
			if n := s.counts(); n.writes != fioBlocks || n.reads != fioBlocks || n.flushes < fioBlocks/64-1 || n.writesFUA != 0 {
				t.Errorf("the server counts %+v, expected %d reads and writes, a flush for each 64, and no FUA, which fio cannot send", n, fioBlocks)
			}
		})
	}
}

// fio runs the job and checks fio's own report.
func fio(t *testing.T, uri string) {
	t.Helper()
	r := run(t, t.TempDir(), append(append([]string{"fio"}, strings.Fields(fioJob)...), "--uri="+uri)...)
	var report struct {
		Jobs []struct {
			Error       int
			Read, Write struct {
				IOs uint64 `json:"total_ios"`
			}
		}
	}
	_, text, _ := strings.Cut(r.stdout, "{") // what it says before that is not JSON
	if err := json.Unmarshal([]byte("{"+text), &report); err != nil || r.code != 0 || len(report.Jobs) != 1 {
		t.Fatalf("expected exit code 0 and one job, got %v: %v", err, r)
	}
	if j := report.Jobs[0]; j.Error != 0 || j.Write.IOs != fioBlocks || j.Read.IOs != fioBlocks {
		t.Errorf("fio reports %+v, expected %d writes, as many reads, no error", j, fioBlocks)
	}
}
