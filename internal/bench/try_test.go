package bench

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"
)

func TestTry(t *testing.T) {
	p := Default()
	start := time.Now()
	doc, err := Run(context.Background(), &p, nil)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(time.Since(start))
	for _, c := range doc.Cells {
		fmt.Printf("%-36s %-4s %10.1f/s", c.ID, c.Status, c.Rates.Commits)
		if c.Commit != nil {
			if c.Commit.P50 != nil { fmt.Printf(" p50 %v", time.Duration(*c.Commit.P50)) }
			if c.Commit.P99 != nil { fmt.Printf(" p99 %v", time.Duration(*c.Commit.P99)) }
		}
		fmt.Printf(" %+v\n    %+v\n    %+v %v\n", *c.Durability, *c.BreakdownNS, *c.Stats, c.Warnings)
	}
	for _, v := range doc.Verdicts { fmt.Println(v.Sentence) }
	doc.WriteJSON(os.NewFile(99, "x"))
}
