package catalog

import (
	"fmt"
	"time"

	"nbdbench/devices/drive"
	"nbdbench/devices/volume"
	"nbdbench/internal/conf"
	"nbdbench/internal/units"
	"nbdbench/sim"
)

// Cloud has the parameters of a network volume, volume.CloudConfig.
type Cloud struct {
	Mean            time.Duration   `yaml:"mean"`
	Min             time.Duration   `yaml:"min"`
	Sigma           float64         `yaml:"sigma"`
	TailProbability float64         `yaml:"tail_probability"`
	Tail            time.Duration   `yaml:"tail"`
	IOPS            uint64          `yaml:"iops"` // 0 is no limit
	IOPSBurst       uint64          `yaml:"iops_burst"`
	IOPSPeak        uint64          `yaml:"iops_peak"`
	Bandwidth       units.Bandwidth `yaml:"bandwidth"` // 0 is no limit
	IOSize          units.Size      `yaml:"io_size"`
	MaxInFlight     int             `yaml:"max_in_flight"`
	Flush           time.Duration   `yaml:"flush"`
}

func (c *Cloud) config() volume.CloudConfig {
	return volume.CloudConfig{
		Mean: c.Mean, Min: c.Min, Sigma: c.Sigma, TailProbability: c.TailProbability, Tail: c.Tail,
		IOPS:  volume.Limit{Rate: c.IOPS, Burst: c.IOPSBurst, Peak: c.IOPSPeak},
		Bytes: volume.Limit{Rate: uint64(c.Bandwidth)}, IOSize: uint64(c.IOSize),
		MaxInFlight: c.MaxInFlight, Flush: c.Flush,
	}
}

// RAID has the parameters of a controller with a protected cache,
// volume.RAIDConfig, and the profile of the disk behind it.
type RAID struct {
	Disk string `yaml:"disk"`
	// Profile is the disk's, where it is not to be looked up by name.
	Profile       *Profile        `yaml:"disk_profile"`
	Serial        time.Duration   `yaml:"serial"`
	Parallel      time.Duration   `yaml:"parallel"`
	Bandwidth     units.Bandwidth `yaml:"bandwidth"`
	Flush         time.Duration   `yaml:"flush"`
	Capacity      units.Size      `yaml:"capacity"`
	HighWater     units.Size      `yaml:"high_water"`
	LowWater      units.Size      `yaml:"low_water"`
	IdleDestage   time.Duration   `yaml:"idle_destage"`
	QueueDepth    int             `yaml:"queue_depth"`
	Order         string          `yaml:"order"` // sweep or oldest
	BatteryFailed bool            `yaml:"battery_failed"`
}

var raidOrders = map[string]volume.Order{"": volume.Sweep, "sweep": volume.Sweep, "oldest": volume.Oldest}

func (r *RAID) config() volume.RAIDConfig {
	return volume.RAIDConfig{
		Serial: r.Serial, Parallel: r.Parallel, Bandwidth: float64(r.Bandwidth), Flush: r.Flush,
		Capacity: uint64(r.Capacity), HighWater: uint64(r.HighWater), LowWater: uint64(r.LowWater),
		IdleDestage: r.IdleDestage, QueueDepth: r.QueueDepth, Order: raidOrders[r.Order], BatteryFailed: r.BatteryFailed,
	}
}

func (r *RAID) validate() error {
	if _, ok := raidOrders[r.Order]; !ok {
		return conf.At("raid.order", "expected sweep or oldest, got %q", r.Order)
	}
	disk, err := r.disk()
	switch {
	case err != nil && r.Profile != nil:
		return conf.Under("raid.disk_profile", err)
	case err != nil:
		return conf.At("raid.disk", "%v", err)
	}
	if disk.Kind != "hdd" && disk.Kind != "ssd" {
		return conf.At("raid.disk", "expected an hdd or an ssd, got %s, which is %s", r.Disk, disk.Kind)
	}
	c := r.config()
	if err := c.Validate(); err != nil {
		return conf.At("raid", "%v", err)
	}
	return nil
}

// openRAID opens the disk, of which only the time counts, and the controller
// before it.
func (p *Profile) openRAID(loop *sim.Loop, media drive.Media, o Options) (Device, error) {
	disk, err := p.RAID.disk()
	if err != nil {
		return nil, err
	}
	disk.Size = p.Size
	behind, err := disk.openDrive(loop, volume.Blank{}, o.Seed)
	if err != nil {
		return nil, err
	}
	d, err := volume.NewRAID(loop, p.RAID.config(), p.Info(), media, behind)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	if o.Media != nil { // it outlives the device, as the battery does
		d.KeepAtOnce()
	}
	return d, nil
}
