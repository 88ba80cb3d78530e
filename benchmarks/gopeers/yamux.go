//go:build yamux

package main

import (
	"io"
	"net"

	"github.com/hashicorp/yamux"
)

// yamux's Close is a half-close on the wire, but after it the Read of old releases, which Debian has, returns io.EOF
// whenever no data is waiting. So an answer cannot come on the same stream: see closing.
func init() {
	muxes["yamux"] = closingMux(func(conn net.Conn, client bool) (rawSession, error) {
		start := yamux.Server
		if client {
			start = yamux.Client
		}
		s, err := start(conn, yamuxConfig())
		return yamuxSession{s}, err
	})
}

// The defaults, but for a window of 1 MiB, not 256 KiB: it makes bulk faster, most of all on one stream, and more than
// that adds nothing. The accept backlog of 256 makes open wait, so that any number can be opened together.
func yamuxConfig() *yamux.Config {
	config := yamux.DefaultConfig()
	config.MaxStreamWindowSize = 1 << 20
	config.LogOutput = io.Discard // else every client that leaves is logged
	return config
}

type yamuxSession struct{ *yamux.Session }

func (s yamuxSession) openRaw() (rawStream, error) {
	st, err := s.OpenStream()
	return yamuxStream{st}, err
}

func (s yamuxSession) acceptRaw() (rawStream, error) {
	st, err := s.AcceptStream()
	return yamuxStream{st}, err
}

type yamuxStream struct{ *yamux.Stream }

func (s yamuxStream) id() uint32 { return s.StreamID() }
