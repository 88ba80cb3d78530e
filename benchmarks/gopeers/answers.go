package main

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
)

// closing is a session of a mux without a half-close that can be relied on: Close ends both directions, though what
// was written before still arrives. So a sender closes its stream, and the answer comes on a stream which the server
// opens: the id of the closed stream (4 bytes), then the answer. This is one short stream for each sender, after its
// last byte; it adds nothing to the bytes that are measured.
type closing struct {
	raw rawSession

	mu      sync.Mutex
	waiting map[uint32]chan rawStream // by the id of the stream that is closed; nil when no answer can come
}

type rawSession interface {
	openRaw() (rawStream, error)
	acceptRaw() (rawStream, error)
}

type rawStream interface {
	io.ReadWriteCloser
	id() uint32
}

var errNoAnswer = errors.New("the session has ended")

// closingMux makes a mux of a function that starts a session's end.
func closingMux(start func(conn net.Conn, client bool) (rawSession, error)) mux {
	return mux{
		client: func(conn net.Conn) (session, error) {
			raw, err := start(conn, true)
			if err != nil {
				return nil, err
			}
			s := &closing{raw: raw, waiting: map[uint32]chan rawStream{}}
			go s.takeAnswers()
			return s, nil
		},
		server: func(conn net.Conn) (session, error) {
			raw, err := start(conn, false)
			return &closing{raw: raw}, err
		},
	}
}

func (s *closing) open() (stream, error) {
	st, err := s.raw.openRaw()
	return closingStream{st, s}, err
}

func (s *closing) accept() (stream, error) {
	st, err := s.raw.acceptRaw()
	return closingStream{st, s}, err
}

// takeAnswers hands every stream that the server opens to the finish which waits for it.
func (s *closing) takeAnswers() {
	defer s.giveUp()
	for {
		st, err := s.raw.acceptRaw()
		if err != nil {
			return
		}
		var id [4]byte
		if _, err := io.ReadFull(st, id[:]); err != nil {
			return
		}
		s.mu.Lock()
		if wanted, found := s.waiting[binary.BigEndian.Uint32(id[:])]; found {
			wanted <- st
		}
		s.mu.Unlock()
	}
}

func (s *closing) giveUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, wanted := range s.waiting {
		close(wanted)
	}
	s.waiting = nil
}

func (s *closing) expect(id uint32) (<-chan rawStream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting == nil {
		return nil, errNoAnswer
	}
	wanted := make(chan rawStream, 1)
	s.waiting[id] = wanted
	return wanted, nil
}

func (s *closing) forget(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, id)
}

type closingStream struct {
	rawStream
	session *closing
}

func (s closingStream) finish() ([]byte, error) {
	wanted, err := s.session.expect(s.id())
	if err != nil {
		return nil, err
	}
	defer s.session.forget(s.id())
	if err := s.Close(); err != nil {
		return nil, err
	}
	answer, came := <-wanted
	if !came {
		return nil, errNoAnswer
	}
	defer answer.Close()
	return io.ReadAll(answer)
}

func (s closingStream) answer(data []byte) error {
	answer, err := s.session.raw.openRaw()
	if err != nil {
		return err
	}
	if _, err := answer.Write(append(binary.BigEndian.AppendUint32(nil, s.id()), data...)); err != nil {
		return err
	}
	if err := answer.Close(); err != nil {
		return err
	}
	return s.Close()
}

func (s closingStream) close() error { return s.Close() }
