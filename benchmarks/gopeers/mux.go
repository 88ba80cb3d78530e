package main

import (
	"io"
	"net"
)

// stream is what the workloads want of a mux's stream. One goroutine reads it and one writes it.
type stream interface {
	io.Reader
	io.Writer

	// finish ends what this side sends, and returns all that the other side answers.
	finish() ([]byte, error)

	// answer is finish's other side: called when Read has returned io.EOF, it sends the answer and closes.
	answer([]byte) error

	// close is for a stream whose bytes have all been read. It comes neither after finish nor after answer.
	close() error
}

type session interface {
	open() (stream, error)
	accept() (stream, error)
}

// mux makes the two ends of a session.
type mux struct {
	client func(net.Conn) (session, error)
	server func(net.Conn) (session, error)
}

// muxes has what was built in: each file of a mux adds its own.
var muxes = map[string]mux{}
