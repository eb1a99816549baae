package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The attributes and commands of the kernel's netlink family
// (include/uapi/linux/nbd-netlink.h).
const (
	familyName    = "nbd"
	familyVersion = 1

	cmdConnect    = 1
	cmdDisconnect = 2

	attrIndex           = 1
	attrSize            = 2
	attrBlockSize       = 3
	attrTimeout         = 4 // seconds
	attrServerFlags     = 5
	attrSockets         = 7
	attrDeadConnTimeout = 8 // seconds

	attrSocketItem = 1
	attrSocketFD   = 1
)

// errNoFamily says that this kernel's nbd has no netlink family.
var errNoFamily = errors.New("this kernel's nbd has no netlink family")

// connection is the description of an export for the kernel, by either interface.
type connection struct {
	index       int // of /dev/nbdN; -1 is any that is free
	sockets     []int
	size        uint64 // bytes
	blockSize   uint32
	flags       uint16 // transmission flags
	timeout     time.Duration
	deadTimeout time.Duration
}

// family is a conversation with the kernel's nbd.
type family struct {
	conn *genetlink.Conn
	id   uint16
}

func dialFamily() (*family, error) {
	c, err := genetlink.Dial(nil)
	if err != nil {
		return nil, fmt.Errorf("generic netlink: %w", err)
	}
	f, err := c.GetFamily(familyName)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = errNoFamily
		}
		return nil, errors.Join(err, c.Close())
	}
	return &family{c, f.ID}, nil
}

func (f *family) Close() error { return f.conn.Close() }

// connect hands the sockets to the kernel and returns the device's index.
func (f *family) connect(c *connection) (int, error) {
	e := netlink.NewAttributeEncoder()
	if c.index >= 0 {
		e.Uint32(attrIndex, uint32(c.index))
	}
	e.Uint64(attrSize, c.size)
	e.Uint64(attrBlockSize, uint64(c.blockSize))
	e.Uint64(attrServerFlags, uint64(c.flags))
	e.Uint64(attrTimeout, seconds(c.timeout))
	if c.deadTimeout > 0 {
		e.Uint64(attrDeadConnTimeout, seconds(c.deadTimeout))
	}
	e.Nested(attrSockets, func(list *netlink.AttributeEncoder) error {
		for _, fd := range c.sockets {
			list.Nested(attrSocketItem, func(item *netlink.AttributeEncoder) error {
				item.Uint32(attrSocketFD, uint32(fd))
				return nil
			})
		}
		return nil
	})
	replies, err := f.execute(cmdConnect, e, netlink.Request)
	if err != nil {
		return -1, err
	}
	for _, m := range replies {
		d, err := netlink.NewAttributeDecoder(m.Data)
		if err != nil {
			return -1, fmt.Errorf("the kernel's answer: %w", err)
		}
		for d.Next() {
			if d.Type() == attrIndex {
				return int(d.Uint32()), nil
			}
		}
	}
	return -1, errors.New("the kernel's answer names no device")
}

// disconnect has the kernel let device index go. It returns once that is done.
func (f *family) disconnect(index int) error {
	e := netlink.NewAttributeEncoder()
	e.Uint32(attrIndex, uint32(index))
	_, err := f.execute(cmdDisconnect, e, netlink.Request|netlink.Acknowledge)
	return err
}

func (f *family) execute(cmd uint8, e *netlink.AttributeEncoder, flags netlink.HeaderFlags) ([]genetlink.Message, error) {
	data, err := e.Encode()
	if err != nil {
		return nil, err
	}
	m := genetlink.Message{Header: genetlink.Header{Command: cmd, Version: familyVersion}, Data: data}
	replies, err := f.conn.Execute(m, f.id, flags)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return nil, &Missing{"not permitted to configure /dev/nbd*", "run it as root (CAP_SYS_ADMIN)", err}
	}
	return replies, err
}

// seconds rounds up: a timeout that is asked for is never turned into none.
func seconds(d time.Duration) uint64 { return uint64((d + time.Second - 1) / time.Second) }
