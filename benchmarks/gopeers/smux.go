//go:build smux

package main

import (
	"net"

	"github.com/xtaci/smux"
)

// The defaults, which are the fastest of what was tried: version 1, frames of 32 KiB and a receive buffer of 4 MiB for
// the session. Version 2 is slower with any buffer, but has windows: in version 1 a stream that is not read ends up
// stalling all others. Frames of 65,535 bytes and a larger receive buffer gain nothing.
func init() {
	muxes["smux"] = closingMux(func(conn net.Conn, client bool) (rawSession, error) {
		start := smux.Server
		if client {
			start = smux.Client
		}
		s, err := start(conn, smux.DefaultConfig())
		return smuxSession{s}, err
	})
}

type smuxSession struct{ *smux.Session }

func (s smuxSession) openRaw() (rawStream, error) {
	st, err := s.OpenStream()
	return smuxStream{st}, err
}

func (s smuxSession) acceptRaw() (rawStream, error) {
	st, err := s.AcceptStream()
	return smuxStream{st}, err
}

type smuxStream struct{ *smux.Stream }

func (s smuxStream) id() uint32 { return s.ID() }
