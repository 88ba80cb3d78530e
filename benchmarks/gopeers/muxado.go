//go:build muxado

package main

import (
	"io"
	"net"

	"github.com/inconshreveable/muxado"
)

// There is nothing to set: windows of 64 KiB, frames of up to 16 KiB, 100 streams that wait to be accepted and a
// heartbeat every 3 s are constants. A full accept queue makes the session's reader wait and loses nothing, so that
// any number of streams can be opened together as long as the accept loop does no more than start goroutines.
func init() {
	muxes["muxado"] = mux{
		client: func(conn net.Conn) (session, error) { return muxadoSession{muxado.Client(conn)}, nil },
		server: func(conn net.Conn) (session, error) { return muxadoSession{muxado.Server(conn)}, nil },
	}
}

type muxadoSession struct{ muxado.Session }

func (s muxadoSession) open() (stream, error) {
	st, err := s.Open()
	return muxadoStream{st}, err
}

func (s muxadoSession) accept() (stream, error) {
	st, err := s.Accept()
	return muxadoStream{st}, err
}

type muxadoStream struct{ muxado.Stream }

func (s muxadoStream) finish() ([]byte, error) {
	if err := s.close(); err != nil {
		return nil, err
	}
	return io.ReadAll(s)
}

func (s muxadoStream) answer(data []byte) error {
	_, err := s.HalfClose(data)
	return err
}

// close half-closes: when the other side has done so too, the stream is gone. muxado's Close would forget the stream
// immediately, answer the other side's FIN with a RST, and send a second FIN if it came after a HalfClose.
func (s muxadoStream) close() error {
	_, err := s.HalfClose(nil)
	return err
}
