package sh

import (
	"bytes"
	"context"
	"strconv"
	"strings"

	"nbdbench/devices"
	"nbdbench/devices/fua"
	"nbdbench/devices/plugin"
)

// conn is a connection to a script.
type conn struct {
	s      *Script
	handle string

	// What more than one question needs is asked once.
	canFlush, canZero *bool
	canCache          fua.Answer
}

// open opens the script for a connection.
func (s *Script) open(ctx context.Context, info plugin.ConnInfo) (*plugin.Conn, error) {
	readOnly := word(info.ReadOnly)
	if _, err := s.optional(ctx, "preconnect", readOnly); err != nil {
		return nil, err
	}
	name := info.Export
	if err := checkName(name); err != nil {
		return nil, err
	}
	if name == "" {
		var err error
		if name, err = s.defaultExport(ctx, info.ReadOnly, info.TLS); err != nil {
			return nil, err
		}
	}
	handle, _, err := s.answer(ctx, "open", readOnly, name, word(info.TLS))
	if err != nil {
		return nil, err
	}
	c := &conn{s: s, handle: string(handle)}
	if bytes.IndexByte(handle, 0) >= 0 {
		return nil, s.fail("open", `expected a handle without a NUL byte, got "%s"`, shown(handle))
	}
	return c.functions(), nil
}

// functions are all that a script may have: which methods are there is not known
// before they are called.
func (c *conn) functions() *plugin.Conn {
	return &plugin.Conn{
		Size: c.size, PRead: c.pread, PWrite: c.pwrite, PZero: c.zero, PTrim: c.trim, Cache: c.cache, Flush: c.flush,
		CanWrite: c.can("can_write"), CanFlush: c.flushes, CanFUA: c.fua, CanTrim: c.can("can_trim"), CanZero: c.zeroes,
		CanFastZero: c.fastZeroes, CanCache: c.caches, CanMultiConn: c.can("can_multi_conn"), Description: c.description, Close: c.close,
	}
}

func (c *conn) size(ctx context.Context) (uint64, error) {
	b, exists, err := c.s.answer(ctx, "get_size", c.handle)
	if err != nil {
		return 0, err
	}
	if !exists {
		return 0, c.s.fail("get_size", "the script lacks this method, which is required")
	}
	n, err := parseSize(b)
	if err != nil {
		return 0, c.s.fail("get_size", "%v", err)
	}
	return n, nil
}

// ask asks a question of two answers.
func (c *conn) ask(ctx context.Context, method string) (status, error) {
	return c.s.call(ctx, &process{argv: []string{method, c.handle}})
}

// can is a question whose absence is no.
func (c *conn) can(method string) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		how, err := c.ask(ctx, method)
		return err == nil && how == done, err
	}
}

// once is can for a question that others need too.
func (c *conn) once(ctx context.Context, known **bool, method string) (bool, error) {
	if *known != nil {
		return **known, nil
	}
	yes, err := c.can(method)(ctx)
	if err == nil {
		*known = &yes
	}
	return yes, err
}

func (c *conn) flushes(ctx context.Context) (bool, error) {
	return c.once(ctx, &c.canFlush, "can_flush")
}

func (c *conn) zeroes(ctx context.Context) (bool, error) {
	return c.once(ctx, &c.canZero, "can_zero")
}

// fastZeroes is that zero is, where it is not asked: zeroes that are written fail fast.
func (c *conn) fastZeroes(ctx context.Context) (bool, error) {
	how, err := c.ask(ctx, "can_fast_zero")
	if err != nil || how != missing {
		return err == nil && how == done, err
	}
	zeroes, err := c.zeroes(ctx)
	return err == nil && !zeroes, err
}

// fua without can_fua is whether the script flushes.
func (c *conn) fua(ctx context.Context) (fua.Answer, error) {
	a, err := c.support(ctx, "can_fua")
	if err != nil || a != fua.Absent {
		return a, err
	}
	flushes, err := c.flushes(ctx)
	if flushes {
		return fua.Emulate, err
	}
	return fua.No, err
}

// support asks a question that is answered by none, emulate or native.
func (c *conn) support(ctx context.Context, method string) (fua.Answer, error) {
	b, exists, err := c.s.answer(ctx, method, c.handle)
	if err != nil || !exists {
		return fua.Absent, err
	}
	a, err := parseFUA(b)
	if err != nil {
		return fua.Absent, c.s.fail(method, "%v", err)
	}
	return a, nil
}

func (c *conn) caches(ctx context.Context) (yes bool, err error) {
	c.canCache, err = c.support(ctx, "can_cache")
	return c.canCache == fua.Emulate || c.canCache == fua.Native, err
}

func (c *conn) pread(ctx context.Context, b []byte, offset uint64) error {
	return c.read(ctx, output{b: b}, uint64(len(b)), offset)
}

// read reads, of which out takes as much as it has room for.
func (c *conn) read(ctx context.Context, out output, n, offset uint64) error {
	p := &process{argv: []string{"pread", c.handle, number(n), number(offset)}, output: out}
	exists, err := c.s.definite(ctx, p)
	switch {
	case err != nil:
		return err
	case !exists:
		return c.s.fail("pread", "the script lacks this method, which is required")
	case p.output.n != n:
		return c.s.fail("pread", "expected exactly %d bytes on stdout, got %d", n, p.output.n)
	}
	return nil
}

func (c *conn) pwrite(ctx context.Context, b []byte, offset uint64, f plugin.Flags) error {
	argv := []string{"pwrite", c.handle, number(uint64(len(b))), number(offset), flags(f)}
	exists, err := c.s.definite(ctx, &process{argv: argv, input: b})
	if err == nil && !exists {
		return c.s.fail("pwrite", "the script lacks this method, though its can_write says that it writes")
	}
	return err
}

// zero without a method is one that is not supported: the zeroes are written.
func (c *conn) zero(ctx context.Context, n, offset uint64, f plugin.Flags) error {
	exists, err := c.ranged(ctx, "zero", n, offset, flags(f))
	if err == nil && !exists {
		return devices.ENOTSUP
	}
	return err
}

// trim, flush and cache need not be there: nothing is done, as under nbdkit.
func (c *conn) trim(ctx context.Context, n, offset uint64, f plugin.Flags) error {
	_, err := c.ranged(ctx, "trim", n, offset, flags(f))
	return err
}

func (c *conn) flush(ctx context.Context) error {
	_, err := c.s.definite(ctx, &process{argv: []string{"flush", c.handle}})
	return err
}

// cache that is emulated is a read.
func (c *conn) cache(ctx context.Context, n, offset uint64) error {
	if c.canCache == fua.Emulate {
		return c.read(ctx, output{}, n, offset)
	}
	_, err := c.ranged(ctx, "cache", n, offset)
	return err
}

// ranged runs a method that has a range.
func (c *conn) ranged(ctx context.Context, method string, n, offset uint64, more ...string) (exists bool, err error) {
	argv := append([]string{method, c.handle, number(n), number(offset)}, more...)
	return c.s.definite(ctx, &process{argv: argv})
}

func (c *conn) description(ctx context.Context) (string, error) {
	b, _, err := c.s.answer(ctx, "export_description", c.handle)
	return string(b), err
}

// close cannot fail.
func (c *conn) close() { _, _ = c.s.optional(context.Background(), "close", c.handle) }

func number(n uint64) string { return strconv.FormatUint(n, 10) }

// flags are a call's flags as a script has them.
func flags(f plugin.Flags) string {
	var words []string
	for _, one := range []struct {
		flag plugin.Flags
		word string
	}{{plugin.FUA, "fua"}, {plugin.MayTrim, "may_trim"}, {plugin.FastZero, "fast"}} {
		if f&one.flag != 0 {
			words = append(words, one.word)
		}
	}
	return strings.Join(words, ",")
}
