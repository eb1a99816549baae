package results

import "nbdbench/devices"

// The parts into which the time of a commit is divided: the stages, and for each proxy
// its three.
const (
	perHop   = 3
	maxParts = int(devices.NumStages) + perHop*devices.MaxHops
)

// parts are the times of a run's commits by stage, without what was spent at proxies, and
// after them those of each of so many proxies: as a client, on its link, as a server.
func (r *RunResult) parts(hops int) (out [maxParts]float64) {
	for i, d := range r.Stages {
		out[i] = float64(d)
	}
	if hops == 0 || r.Hops == nil {
		return out
	}
	h, server := r.Hops, r.Hops[hops]
	out[devices.ClientQueue] -= float64(h[0].Client)
	out[devices.Wire], out[devices.ServerQueue] = float64(server.Link), float64(server.Server)
	for i := range hops {
		at := int(devices.NumStages) + perHop*i
		out[at] = float64(h[i].Client - h[i+1].Client)
		out[at+1] = float64(h[i].Link - h[i+1].Link)
		out[at+2] = float64(h[i].Server - h[i+1].Server)
	}
	return out
}

// breakdown averages the time of a commit by stage over the runs, which weigh
// alike as in the mean. The parts are rounded by largest remainder, so that they
// sum exactly to the mean. Sums that do not add up to it give no breakdown.
func (c *Cell) breakdown() *Breakdown {
	var exact [maxParts]float64
	n := float64(len(c.seeds()))
	for _, r := range c.runs {
		for i, d := range r.parts(len(c.Hops)) {
			exact[i] += d / float64(max(r.Commit.Count(), 1)) / n
		}
	}
	var part [maxParts]int64
	left := *c.Commit.Mean
	for i, x := range exact {
		part[i] = int64(x)
		left -= part[i]
	}
	if left < 0 || left > int64(len(part)) {
		return nil
	}
	for ; left > 0; left-- {
		best := 0
		for i, x := range exact {
			if x-float64(part[i]) > exact[best]-float64(part[best]) {
				best = i
			}
		}
		part[best]++
	}
	b := &Breakdown{
		ClientQueue: part[devices.ClientQueue], Link: part[devices.Wire], ServerQueue: part[devices.ServerQueue],
		DeviceQueue: part[devices.DeviceQueue], Cache: part[devices.CacheStage],
		Media: part[devices.MediaStage], FlushOthers: part[devices.FlushOthers],
	}
	for i := range c.Hops {
		at := int(devices.NumStages) + perHop*i
		b.Hops = append(b.Hops, HopBreakdown{ClientQueue: part[at], Link: part[at+1], ServerQueue: part[at+2]})
	}
	return b
}
