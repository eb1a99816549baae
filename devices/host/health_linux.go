package host

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Health asks the drive under the storage for its temperature and its SMART log. Of a
// drive other than NVMe it has the temperature alone, and that if the kernel has a
// sensor. Nothing is changed.
func (s *Storage) Health() Health {
	y := realSystem()
	h := y.sensor(s.disk.Name)
	if log, ok := smartLog(s.disk.Name); ok {
		h.NVMe = &log
		if h.Celsius == nil {
			h.Celsius = &log.Celsius
		}
	}
	return h
}

// sensor reads the drive's sensor (Documentation/hwmon): of NVMe the controller's, of
// SATA that of drivetemp.
func (y system) sensor(disk string) (h Health) {
	if disk == "" {
		return h
	}
	for _, pattern := range []string{"device/hwmon*/temp1_input", "device/hwmon/hwmon*/temp1_input", "device/device/hwmon/hwmon*/temp1_input"} {
		found, _ := filepath.Glob(filepath.Join(y.dir(disk), pattern)) // the pattern is good
		for _, input := range found {
			if h.Celsius = thousandths(input); h.Celsius == nil {
				continue
			}
			h.Limit = thousandths(strings.TrimSuffix(input, "input") + "max")
			return h
		}
	}
	return h
}

func thousandths(file string) *float64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 32)
	if err != nil {
		return nil
	}
	return new(float64(n) / 1000)
}

// NVMe's pass-through (include/uapi/linux/nvme_ioctl.h).
const (
	ioctlNVMeAdmin = 0xc0484e41 // NVME_IOCTL_ADMIN_CMD
	nvmeGetLog     = 0x02
	nvmeSMART      = 0x02
	nvmeTimeoutMS  = 5000
)

type nvmeCommand struct {
	opcode, flags                    uint8
	_                                uint16
	namespace, _, _                  uint32
	_, addr                          uint64
	_, length                        uint32
	cdw10, _, _, _, _, _, timeout, _ uint32
}

// smartLog reads an NVMe drive's SMART log, as root.
func smartLog(disk string) (SMART, bool) {
	if !strings.HasPrefix(disk, "nvme") {
		return SMART{}, false
	}
	f, err := os.OpenFile("/dev/"+disk, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return SMART{}, false
	}
	defer f.Close()
	log, err := unix.Mmap(-1, 0, smartBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // where it stays, for addr
	if err != nil {
		return SMART{}, false
	}
	defer func() { _ = unix.Munmap(log) }()
	c := nvmeCommand{
		opcode: nvmeGetLog, namespace: ^uint32(0), addr: uint64(uintptr(unsafe.Pointer(&log[0]))), length: smartBytes,
		cdw10: nvmeSMART | (smartBytes/4-1)<<16, timeout: nvmeTimeoutMS,
	}
	if status, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), ioctlNVMeAdmin, uintptr(unsafe.Pointer(&c))); errno != 0 || status != 0 {
		return SMART{}, false
	}
	return parseSMART(log), true
}
