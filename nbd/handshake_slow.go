package nbd

import (
	"context"
	"fmt"

	"nbdbench/devices"
)

// slow is what of a handshake may take its time, and happens without the loop: an
// Export's Connect and List. The option that needs it is kept, and answered again
// once there is a result.
type slow struct {
	work func(context.Context) // not yet done
	opt  Option                // is answered again
	data []byte

	conn  string // the name of the session
	to    *Export
	has   bool // there is a session
	sess  Session
	err   error // of the last Connect or List, until it has been answered
	names []ExportName
	asked bool // names and err answer LIST
}

// Work is what the next step waits for.
func (h *ServerHandshake) Work() func(context.Context) { return h.slow.work }

// again answers the option of which the result is there.
func (h *ServerHandshake) again() {
	s := &h.slow
	if data := s.data; s.work != nil {
		s.work, s.data = nil, nil
		h.option(s.opt, data)
	}
}

// later has an option answered again after work.
func (h *ServerHandshake) later(opt Option, data []byte, work func(context.Context)) {
	h.slow.work, h.slow.opt, h.slow.data = work, opt, data
}

// connect is open for an export that may take its time. INFO and then GO for one name
// get the same session; a session of another name ends before.
func (h *ServerHandshake) connect(e *Export, opt Option, data []byte, name string) (devices.Device, error) {
	s := &h.slow
	if err := s.err; err != nil {
		s.err = nil
		return nil, err
	}
	if s.has && s.to == e && s.conn == name {
		return s.sess.Device, nil
	}
	h.EndSession()
	conn := h.conn
	conn.Export = name
	h.later(opt, data, func(ctx context.Context) {
		sess, err := e.Connect(ctx, conn)
		s.sess, s.err, s.has, s.to, s.conn = sess, err, err == nil, e, name
	})
	return nil, nil
}

// EndSession closes the session, if there is one. On the loop.
func (h *ServerHandshake) EndSession() {
	s := &h.slow
	if s.has && s.sess.Close != nil {
		s.sess.Close()
	}
	s.has, s.sess = false, Session{}
}

// TakeSession hands over the session of the export that was chosen.
func (h *ServerHandshake) TakeSession() Session {
	s := h.slow.sess
	h.slow.has, h.slow.sess = false, Session{}
	return s
}

// described is the description of an export under a name.
func (h *ServerHandshake) described(e *Export, name string) string {
	if s := &h.slow; s.has && s.to == e && s.conn == name && s.sess.Description != "" {
		return s.sess.Description
	}
	return e.Description
}

// exists says whether there is such an export, and has one opened that takes no time.
// nbdkit opens no plugin for META_CONTEXT.
func (h *ServerHandshake) exists(name string) error {
	if e := h.find(name); e != nil && e.Connect != nil && ValidString(name) {
		return nil
	}
	_, _, err := h.open(0, nil, name)
	return err
}

// names are those of all exports, or nothing as long as there is work.
func (h *ServerHandshake) names() (all []ExportName, err error) {
	s := &h.slow
	if s.asked {
		all, err = s.names, s.err
		s.names, s.err, s.asked = nil, nil, false
		return all, err
	}
	lists := false
	for _, e := range h.exports {
		lists = lists || e.List != nil
		all = append(all, ExportName{e.Name, e.Description})
	}
	if lists {
		exports, conn := h.exports, h.conn
		h.later(OptList, nil, func(ctx context.Context) {
			s.asked = true
			s.names, s.err = listed(ctx, exports, conn)
		})
	}
	return all, nil
}

// listed asks the exports for their names.
func listed(ctx context.Context, exports []*Export, c ConnInfo) (all []ExportName, err error) {
	for _, e := range exports {
		names := []ExportName{{e.Name, e.Description}}
		if e.List != nil {
			if names, err = e.List(ctx, c); err != nil {
				return nil, err
			}
		}
		all = append(all, names...)
	}
	if len(all) > MaxExports {
		return nil, fmt.Errorf("%d exports, expected at most %d", len(all), MaxExports)
	}
	for _, n := range all {
		if !ValidString(n.Name) || !ValidString(n.Description) {
			return nil, fmt.Errorf("export %.64q: expected a name and a description in UTF-8 without NUL, of at most %d bytes", n.Name, MaxString)
		}
	}
	return all, nil
}
