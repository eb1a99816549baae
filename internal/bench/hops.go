package bench

import (
	"fmt"
	"slices"

	"nbdbench/devices"
	"nbdbench/internal/conf"
	"nbdbench/internal/stack"
	"nbdbench/results"
	"nbdbench/sim"
)

// UseHops takes proxies as flags give them, in place of the plan's.
func (p *Plan) UseHops(texts []string) error {
	p.Hops = nil
	for _, s := range texts {
		h, err := stack.ParseHop(s)
		if err != nil {
			return err
		}
		p.Hops = append(p.Hops, h)
	}
	return stack.CheckHops(p.Hops)
}

// validateHops checks the proxies.
func (p *Plan) validateHops() error {
	if len(p.Hops) > 0 && p.Clock == "real" {
		return conf.At("hops", "expected none in real time, where a proxy is a program of its own between client and server")
	}
	p.Hops = slices.Clone(p.Hops) // which get their defaults
	return stack.CheckHops(p.Hops)
}

// Paths says for each strategy of a device's cells where they make a write durable.
func (p *Plan) Paths(cells []Cell, device string) (out []stack.Path, err error) {
	var info *devices.Info
	for i := range cells {
		c := &cells[i]
		if c.Device != device || slices.ContainsFunc(out, func(o stack.Path) bool { return o.Strategy == c.Strategy.Name }) {
			continue
		}
		if info == nil {
			if info, err = c.info(p); err != nil {
				return nil, err
			}
		}
		out = append(out, stack.PathOf(*info, c.Strategy, p.Hops))
	}
	return out, nil
}

// info is what the cell's device can do.
func (c *Cell) info(p *Plan) (*devices.Info, error) {
	if c.Plugin == "" {
		return new(c.Profile.Info()), nil
	}
	d, drive, err := c.openModel(p, sim.NewLoop(), p.seedOf(0))
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", c.Device, err)
	}
	defer drive.Close()
	return new(d.Info()), nil
}

// throughHops says how durable a cell is whose requests pass proxies, and by whom.
func throughHops(p *Plan, c *Cell, config *results.CellConfig) {
	for _, h := range p.Hops {
		config.Hops = append(config.Hops, results.CellHop{Link: h.Link.Name, Strategy: h.Strategy})
	}
	info, err := c.info(p)
	if err != nil {
		return // its runs say so
	}
	if path := stack.PathOf(*info, c.Strategy, p.Hops); path.Unsupported == "" {
		config.Durable, config.WhoDurable = path.Durable, path.WhoDurable()
	}
}
