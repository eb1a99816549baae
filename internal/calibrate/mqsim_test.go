//go:build unix

package calibrate

import (
	"bytes"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/sim"
)

var (
	mqsimProgram = flag.String("mqsim", "", "the program of MQSim, built from its source, to be run beside ssd-mqsim")
	mqsimUpdate  = flag.Bool("mqsim.update", false, "write the table into docs/notes/mqsim.md")
)

// mqLoad is what both programs are asked: random requests of one size in a closed loop.
type mqLoad struct {
	reads    int // percent
	depth    int
	requests int
	size     uint64 // bytes
	ideal    bool   // all of the mapping is in memory
	blocks   int    // of a plane; fewer than 2048 for garbage collection
	occupied int    // percent that has been written over at random before; 0 is a fresh drive
}

func (l *mqLoad) String() string {
	kind := map[int]string{0: "writes", 50: "the mix", 100: "reads"}[l.reads]
	mapping := "default mapping"
	if l.ideal {
		mapping = "ideal mapping"
	}
	return fmt.Sprintf("%s | %d | %s", kind, l.depth, mapping)
}

// mqResult is what came out.
type mqResult struct {
	mean, p99 float64 // us
	rate      float64 // requests a second
	cpu       time.Duration
}

// mqDefault is MQSim's ssdconfig.xml: its own names and values.
const mqDefault = `<?xml version="1.0" encoding="us-ascii"?>
<Execution_Parameter_Set>
<Host_Parameter_Set>
<PCIe_Lane_Bandwidth>1.0</PCIe_Lane_Bandwidth><PCIe_Lane_Count>4</PCIe_Lane_Count><SATA_Processing_Delay>400000</SATA_Processing_Delay>
<Enable_ResponseTime_Logging>@LOGGING@</Enable_ResponseTime_Logging><ResponseTime_Logging_Period_Length>0</ResponseTime_Logging_Period_Length>
</Host_Parameter_Set>
<Device_Parameter_Set>
<Seed>321</Seed><Enabled_Preconditioning>@PRECONDITION@</Enabled_Preconditioning><Memory_Type>FLASH</Memory_Type><HostInterface_Type>NVME</HostInterface_Type>
<IO_Queue_Depth>65535</IO_Queue_Depth><Queue_Fetch_Size>512</Queue_Fetch_Size>
<Caching_Mechanism>ADVANCED</Caching_Mechanism><Data_Cache_Sharing_Mode>SHARED</Data_Cache_Sharing_Mode><Data_Cache_Capacity>268435456</Data_Cache_Capacity>
<Data_Cache_DRAM_Row_Size>8192</Data_Cache_DRAM_Row_Size><Data_Cache_DRAM_Data_Rate>100</Data_Cache_DRAM_Data_Rate><Data_Cache_DRAM_Data_Busrt_Size>1</Data_Cache_DRAM_Data_Busrt_Size>
<Data_Cache_DRAM_tRCD>13</Data_Cache_DRAM_tRCD><Data_Cache_DRAM_tCL>13</Data_Cache_DRAM_tCL><Data_Cache_DRAM_tRP>13</Data_Cache_DRAM_tRP>
<Address_Mapping>PAGE_LEVEL</Address_Mapping><Ideal_Mapping_Table>@IDEAL@</Ideal_Mapping_Table><CMT_Capacity>2097152</CMT_Capacity><CMT_Sharing_Mode>SHARED</CMT_Sharing_Mode>
<Plane_Allocation_Scheme>CWDP</Plane_Allocation_Scheme><Transaction_Scheduling_Policy>PRIORITY_OUT_OF_ORDER</Transaction_Scheduling_Policy>
<Overprovisioning_Ratio>0.07</Overprovisioning_Ratio><GC_Exec_Threshold>0.05</GC_Exec_Threshold><GC_Block_Selection_Policy>RGA</GC_Block_Selection_Policy>
<Use_Copyback_for_GC>false</Use_Copyback_for_GC><Preemptible_GC_Enabled>false</Preemptible_GC_Enabled><GC_Hard_Threshold>0.005</GC_Hard_Threshold>
<Dynamic_Wearleveling_Enabled>true</Dynamic_Wearleveling_Enabled><Static_Wearleveling_Enabled>true</Static_Wearleveling_Enabled><Static_Wearleveling_Threshold>100</Static_Wearleveling_Threshold>
<Preferred_suspend_erase_time_for_read>700000</Preferred_suspend_erase_time_for_read><Preferred_suspend_erase_time_for_write>700000</Preferred_suspend_erase_time_for_write><Preferred_suspend_write_time_for_read>100000</Preferred_suspend_write_time_for_read>
<Flash_Channel_Count>8</Flash_Channel_Count><Flash_Channel_Width>1</Flash_Channel_Width><Channel_Transfer_Rate>333</Channel_Transfer_Rate><Chip_No_Per_Channel>4</Chip_No_Per_Channel>
<Flash_Comm_Protocol>NVDDR2</Flash_Comm_Protocol>
<Flash_Parameter_Set>
<Flash_Technology>MLC</Flash_Technology><CMD_Suspension_Support>ERASE</CMD_Suspension_Support>
<Page_Read_Latency_LSB>75000</Page_Read_Latency_LSB><Page_Read_Latency_CSB>75000</Page_Read_Latency_CSB><Page_Read_Latency_MSB>75000</Page_Read_Latency_MSB>
<Page_Program_Latency_LSB>750000</Page_Program_Latency_LSB><Page_Program_Latency_CSB>750000</Page_Program_Latency_CSB><Page_Program_Latency_MSB>750000</Page_Program_Latency_MSB>
<Block_Erase_Latency>3800000</Block_Erase_Latency><Block_PE_Cycles_Limit>10000</Block_PE_Cycles_Limit>
<Suspend_Erase_Time>700000</Suspend_Erase_Time><Suspend_Program_Time>100000</Suspend_Program_Time>
<Die_No_Per_Chip>2</Die_No_Per_Chip><Plane_No_Per_Die>2</Plane_No_Per_Die><Block_No_Per_Plane>@BLOCKS@</Block_No_Per_Plane><Page_No_Per_Block>256</Page_No_Per_Block>
<Page_Capacity>8192</Page_Capacity><Page_Metadat_Capacity>448</Page_Metadat_Capacity>
</Flash_Parameter_Set>
</Device_Parameter_Set>
</Execution_Parameter_Set>
`

const mqFlow = `<?xml version="1.0" encoding="us-ascii"?>
<MQSim_IO_Scenarios><IO_Scenario><IO_Flow_Parameter_Set_Synthetic>
<Priority_Class>HIGH</Priority_Class><Device_Level_Data_Caching_Mode>WRITE_CACHE</Device_Level_Data_Caching_Mode>
<Channel_IDs>0,1,2,3,4,5,6,7</Channel_IDs><Chip_IDs>0,1,2,3</Chip_IDs><Die_IDs>0,1</Die_IDs><Plane_IDs>0,1</Plane_IDs>
<Initial_Occupancy_Percentage>@OCCUPIED@</Initial_Occupancy_Percentage><Working_Set_Percentage>@WORKING@</Working_Set_Percentage>
<Synthetic_Generator_Type>QUEUE_DEPTH</Synthetic_Generator_Type><Read_Percentage>@READS@</Read_Percentage>
<Address_Distribution>RANDOM_UNIFORM</Address_Distribution><Percentage_of_Hot_Region>0</Percentage_of_Hot_Region>
<Generated_Aligned_Addresses>true</Generated_Aligned_Addresses><Address_Alignment_Unit>@SECTORS@</Address_Alignment_Unit>
<Request_Size_Distribution>FIXED</Request_Size_Distribution><Average_Request_Size>@SECTORS@</Average_Request_Size><Variance_Request_Size>0</Variance_Request_Size>
<Seed>798</Seed><Average_No_of_Reqs_in_Queue>@DEPTH@</Average_No_of_Reqs_in_Queue><Intensity>32768</Intensity>
<Stop_Time>0</Stop_Time><Total_Requests_To_Generate>@REQUESTS@</Total_Requests_To_Generate>
</IO_Flow_Parameter_Set_Synthetic></IO_Scenario></MQSim_IO_Scenarios>
`

// mqRun runs MQSim. Its log has the response time of each request, in whole
// microseconds, as its period is 0.
func mqRun(t *testing.T, l *mqLoad, logging bool) mqResult {
	t.Helper()
	dir := t.TempDir()
	fill := strings.NewReplacer("@LOGGING@", strconv.FormatBool(logging), "@PRECONDITION@", strconv.FormatBool(l.occupied > 0),
		"@IDEAL@", strconv.FormatBool(l.ideal), "@BLOCKS@", strconv.Itoa(l.blocks), "@OCCUPIED@", strconv.Itoa(max(l.occupied, 75)),
		"@WORKING@", strconv.Itoa(l.working()), "@READS@", strconv.Itoa(l.reads), "@SECTORS@", strconv.FormatUint(l.size/512, 10),
		"@DEPTH@", strconv.Itoa(l.depth), "@REQUESTS@", strconv.Itoa(l.requests))
	for name, text := range map[string]string{"ssd.xml": mqDefault, "load.xml": mqFlow} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(fill.Replace(text)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(*mqsimProgram, "-i", "ssd.xml", "-w", "load.xml")
	cmd.Dir, cmd.Stdin = dir, strings.NewReader("\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", l, err, out[max(0, len(out)-2000):])
	}
	r := mqFigures(t, filepath.Join(dir, "load_scenario_1.xml"))
	r.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if logging {
		r.mean, r.p99, r.rate = mqLog(t, filepath.Join(dir, "load.IO_Flow.No_0.log"), l.requests)
	}
	return r
}

func (l *mqLoad) working() int {
	if l.occupied > 0 {
		return 100
	}
	return 50
}

// mqFigures reads MQSim's result.
func mqFigures(t *testing.T, path string) (r mqResult) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Mean float64 `xml:"Host>Host.IO_Flow>Device_Response_Time"`
		Rate float64 `xml:"Host>Host.IO_Flow>IOPS"`
	}
	d := xml.NewDecoder(bytes.NewReader(data))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil } // ASCII
	if err := d.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	r.mean, r.rate = doc.Mean, doc.Rate
	if r.rate == 0 {
		t.Fatalf("%s has no IOPS", path)
	}
	return r
}

// mqLog is the mean and the 99th percentile of the response times in MQSim's log, and
// the rate, as its result counts whole seconds.
func mqLog(t *testing.T, path string, requests int) (mean, p99, rate float64) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var times []float64
	var end float64
	for i, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		if i == 0 {
			continue // the names
		}
		var value, whole float64
		if _, err := fmt.Sscan(line, &end, &value, &whole); err != nil {
			t.Fatal(err)
		}
		times = append(times, value)
	}
	mean, p99 = summary(times)
	return mean, p99, float64(requests) / end * 1e6
}

func summary(us []float64) (mean, p99 float64) {
	slices.Sort(us)
	for _, x := range us {
		mean += x / float64(len(us))
	}
	return mean, us[len(us)*99/100]
}

// closedLoop asks a device l, and is the completer of its requests.
type closedLoop struct {
	t     *testing.T
	l     *mqLoad
	loop  *sim.Loop
	dev   devices.Device
	draw  sim.Stream
	units uint64
	sent  int
	times []float64
}

func (c *closedLoop) submit(r *devices.Request) {
	n := uint64(c.sent)
	c.sent++
	r.Reset()
	r.Op, r.Completer, r.Length = devices.OpWrite, c, c.l.size
	if int(c.draw.Uint64N(100, n, 0)) < c.l.reads {
		r.Op = devices.OpRead
	}
	r.Offset = c.draw.Uint64N(c.units, n, 1) * c.l.size
	r.Intended = c.loop.Now()
	r.Begin(r.Intended)
	c.dev.Submit(r)
}

// Done has the next request sent.
func (c *closedLoop) Done(r *devices.Request) {
	if r.Errno != devices.OK {
		c.t.Fatalf("%v: %v", r, r.Errno)
	}
	c.times = append(c.times, float64(c.loop.Now().Sub(r.Intended))/1e3)
	if c.sent < c.l.requests {
		c.submit(r)
	}
}

// ourRun has ssd-mqsim do the same.
func ourRun(t *testing.T, l *mqLoad) mqResult {
	t.Helper()
	c := &closedLoop{t: t, l: l, loop: sim.NewLoop(), draw: sim.Seed(798).Stream("mqsim"), times: make([]float64, 0, l.requests)}
	before := processorTime(t)
	dev, err := l.profile(t).Open(c.loop, catalog.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	c.dev, c.units = dev, dev.Info().Size/l.size
	if l.occupied == 0 {
		c.units /= 2
	}
	for range l.depth {
		c.submit(&devices.Request{})
	}
	for len(c.times) < l.requests && c.loop.Step() {
	}
	r := mqResult{rate: float64(l.requests) / c.loop.Now().Sub(0).Seconds(), cpu: processorTime(t) - before}
	r.mean, r.p99 = summary(c.times)
	return r
}

// profile is ssd-mqsim as l has it.
func (l *mqLoad) profile(t *testing.T) *catalog.Profile {
	t.Helper()
	p := *profiles(t, "ssd-mqsim")[0]
	s, f := *p.SSD, *p.SSD.Flash
	if l.ideal {
		f.MappingCache = 0
	}
	s.Flash, p.SSD = &f, &s
	return &p
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// mqRequests is how many a row asks: enough for a percentile, and MQSim takes ten
// seconds to begin with.
const mqRequests = 40_000

// TestBesideMQSim runs both programs on this machine.
func TestBesideMQSim(t *testing.T) {
	if *mqsimProgram == "" {
		t.Skip("no -mqsim: make mqsim MQSIM=path of the program")
	}
	var text strings.Builder
	fmt.Fprintf(&text, "| requests | depth | mapping | mean, us: MQSim | ours | ratio | IOPS: MQSim | ours | ratio | p99, us: MQSim | ours | ratio |\n")
	fmt.Fprintf(&text, "|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, ideal := range []bool{true, false} {
		for _, reads := range []int{100, 0, 50} {
			for _, depth := range []int{1, 4, 16} {
				l := &mqLoad{reads: reads, depth: depth, requests: mqRequests, size: 4096, ideal: ideal, blocks: 2048}
				theirs, ours := mqRun(t, l, true), ourRun(t, l)
				fmt.Fprintf(&text, "| %v | %.0f | %.0f | %s | %.0f | %.0f | %s | %.0f | %.0f | %s |\n", l,
					theirs.mean, ours.mean, ratio(ours.mean, theirs.mean, 0.15), theirs.rate, ours.rate, ratio(ours.rate, theirs.rate, 0.15),
					theirs.p99, ours.p99, ratio(ours.p99, theirs.p99, 0.35))
			}
		}
	}
	mix := &mqLoad{reads: 50, depth: 16, requests: 1_000_000, size: 4096, blocks: 2048}
	theirs, ours := mqRun(t, mix, false), ourRun(t, mix)
	fmt.Fprintf(&text, "\n1,000,000 requests of the mix at depth 16, default mapping: MQSim %.1f s of processor time, ours %.1f s, %.0f times less. In the mean %.0f and %.0f us: the mapping cache has filled, and what changes is written back.\n",
		theirs.cpu.Seconds(), ours.cpu.Seconds(), theirs.cpu.Seconds()/ours.cpu.Seconds(), theirs.mean, ours.mean)
	t.Logf("\n%s", text.String())
	keepMQSim(t, text.String())
}

// keepMQSim writes the tables into the page, with -mqsim.update.
func keepMQSim(t *testing.T, text string) {
	t.Helper()
	if !*mqsimUpdate {
		return
	}
	const path, begin, end = "../../docs/notes/mqsim.md", "<!-- begin: mqsim -->\n", "<!-- end -->"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no table of MQSim", path)
	}
	if err := os.WriteFile(path, []byte(before+begin+text+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// ratio is ours to theirs, marked where it is out of tolerance.
func ratio(ours, theirs, tolerance float64) string {
	mark := ""
	if math.Abs(ours/theirs-1) > tolerance {
		mark = " OUT"
	}
	return fmt.Sprintf("%.2f%s", ours/theirs, mark)
}
