package layer

import (
	"errors"

	"nbdbench/devices"
	"nbdbench/devices/fua"
	"nbdbench/sim"
)

// ErrUnsupported is what every *Unsupported is.
var ErrUnsupported = errors.New("unsupported")

// Unsupported says why a device cannot carry out a strategy.
type Unsupported struct{ Reason string }

func (u *Unsupported) Error() string { return u.Reason }

// Is makes errors.Is(u, ErrUnsupported) hold.
func (u *Unsupported) Is(target error) bool { return target == ErrUnsupported }

// Options configure a strategy. Loop is required.
type Options struct {
	Loop *sim.Loop
	// Depth bounds the commands in progress on a connection, in the server's
	// half of emulate; 0 is no limit, nbdkit's is NbdkitDepth.
	Depth int
}

// Wrap puts a layer around a device.
type Wrap func(inner devices.Device, o Options) (devices.Device, error)

// Strategy is a place where durability is made. Its two halves go around the
// device that is served and around the device that the client has.
type Strategy struct {
	Name       string
	WhoDurable string // who makes a write durable, in words
	Durable    bool   // what it acknowledges as durable survives a power cut
	RoundTrips int    // over the wire, for one durable write
	// AnyServer says that the strategy needs nothing of the server's half, so that
	// it can be had against a server that is not ours.
	AnyServer bool
	Server    Wrap
	Client    Wrap
}

// Strategies are all there are, in the order in which they are listed. The
// slice is the caller's.
func Strategies() []Strategy {
	return []Strategy{
		{"native", "device, that write alone", true, 1, false, resolved(fua.ModeNative, needNative), preflushed(advertised)},
		{"emulate", "server: write+flush each", true, 1, false, emulateServer, preflushed(advertised)},
		{"emulate-grouped", "server: shared flush", true, 1, false, server(EmulateGrouped), preflushed(advertised)},
		{"none", "client: write, then flush", true, 2, true, resolved(fua.ModeNone, needFlush), preflushed(client(Emulate))},
		{"none-grouped", "client: shared flush", true, 2, true, resolved(fua.ModeNone, needFlush), client(BlkFlush)},
		{"none-unsafe", "nobody", false, 1, true, resolved(fua.ModeNone, needFlush), preflushed(unsafeClient)},
		{"force", "device, every write", true, 1, false, resolved(fua.ModeForce, needNative), preflushed(advertised)},
		{"discard", "nobody, though advertised", false, 1, false, resolved(fua.ModeDiscard, needNothing), preflushed(advertised)},
		{"pass", "as the device", true, 1, true, passServer, preflushed(pass)},
	}
}

// Names are the names of all strategies, in the same order.
func Names() (names []string) {
	for _, s := range Strategies() {
		names = append(names, s.Name)
	}
	return names
}

// Lookup finds a strategy by its name.
func Lookup(name string) (Strategy, bool) {
	for _, s := range Strategies() {
		if s.Name == name {
			return s, true
		}
	}
	return Strategy{}, false
}

func server(f func(devices.Device, *sim.Loop, Side) (devices.Device, error)) Wrap {
	return func(inner devices.Device, o Options) (devices.Device, error) { return f(inner, o.Loop, ServerSide) }
}

func client(f func(devices.Device, *sim.Loop, Side) (devices.Device, error)) Wrap {
	return func(inner devices.Device, o Options) (devices.Device, error) { return f(inner, o.Loop, ClientSide) }
}

// preflushed is a client's half that takes devices.Preflush.
func preflushed(half Wrap) Wrap {
	return func(inner devices.Device, o Options) (devices.Device, error) {
		d, err := half(inner, o)
		if err != nil {
			return nil, err
		}
		return Preflush(d, o.Loop, ClientSide), nil
	}
}

func pass(inner devices.Device, _ Options) (devices.Device, error) { return inner, nil }

// resolved is the server's half that serves a device as fua.Resolve decides under
// mode. need is the strategy's own condition, and it comes first: a fuamode has
// some devices' FUA emulated, where a strategy is unsupported.
func resolved(mode fua.Mode, need func(devices.Device) error) Wrap {
	return func(inner devices.Device, o Options) (devices.Device, error) {
		if err := need(inner); err != nil {
			return nil, err
		}
		r, err := fua.Resolve(fua.BackendOf(inner.Info()), mode, false)
		if err != nil {
			return nil, &Unsupported{err.Error()}
		}
		return fua.NewDevice(o.Loop, inner, r), nil
	}
}

// passServer leaves all to the device. One that emulates FUA takes the flag itself, and
// may do so without offering FLUSH.
func passServer(inner devices.Device, o Options) (devices.Device, error) {
	if inner.Info().FUA == devices.FUAEmulate {
		return inner, nil
	}
	return resolved(fua.ModePass, needNothing)(inner, o)
}

// advertised is a client that sends FUA, and therefore needs it advertised. It
// cannot see who is behind it.
func advertised(inner devices.Device, _ Options) (devices.Device, error) {
	if inner.Info().FUA == devices.FUANone {
		return nil, &Unsupported{"the export does not advertise FUA"}
	}
	return inner, nil
}

func emulateServer(inner devices.Device, o Options) (devices.Device, error) {
	d, err := resolved(fua.ModeEmulate, needFlush)(inner, o)
	if err != nil {
		return nil, err
	}
	return Depth(d, o.Loop, ServerSide, o.Depth), nil
}

func unsafeClient(inner devices.Device, o Options) (devices.Device, error) {
	return Discard(inner, o.Loop, ClientSide), nil
}

func needNothing(devices.Device) error { return nil }

func needFlush(d devices.Device) error {
	if !d.Info().CanFlush {
		return &Unsupported{"device has no FLUSH"}
	}
	return nil
}

func needNative(d devices.Device) error {
	if d.Info().FUA != devices.FUANative {
		return &Unsupported{"device has no FUA"}
	}
	return nil
}
