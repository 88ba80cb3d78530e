package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/inconshreveable/muxado/proto"
	"github.com/inconshreveable/muxado/proto/frame"
)

// command has the fields of all commands; bytes are base64 in JSON. A field that is not here is refused.
type command struct {
	ID          int64  `json:"id"`
	Cmd         string `json:"cmd"`
	Stream      uint32 `json:"stream"`
	Priority    uint32 `json:"priority"`
	Type        uint32 `json:"type"`
	Fin         bool   `json:"fin"`
	Data        []byte `json:"data"`
	Size        int64  `json:"size"`
	Seed        int64  `json:"seed"`
	Chunk       int    `json:"chunk"`
	Max         int    `json:"max"`
	N           int64  `json:"n"`
	Count       int    `json:"count"`
	Concurrency int    `json:"concurrency"`
	Code        uint32 `json:"code"`
	Debug       []byte `json:"debug"`
	Ms          int64  `json:"ms"`
}

type reply map[string]interface{}

// A handler may return fields with an error: both are in the answer.
var handlers = map[string]func(*peer, *command) (reply, error){
	// streams
	"open":              (*peer).open,            // priority, type, fin -> stream, type
	"accept":            (*peer).accept,          // -> stream, type
	"write":             (*peer).write,           // stream, data -> n
	"write_random":      (*peer).writeRandom,     // stream, size, seed, chunk, fin -> n, sha256
	"half_close":        (*peer).halfClose,       // stream, data -> n
	"close":             (*peer).close,           // stream
	"read":              (*peer).read,            // stream, max -> data, eof
	"read_hash":         (*peer).readHash,        // stream, n -> n, sha256
	"read_all":          (*peer).readAll,         // stream -> n, sha256
	"set_read_deadline": (*peer).setReadDeadline, // stream, ms from now (0: none)
	// the session
	"goaway":        (*peer).goAway, // code, debug
	"session_close": (*peer).sessionClose,
	"kill":          (*peer).kill,
	"wait":          (*peer).wait, // -> code, err, debug
	// traffic of many streams (traffic.go)
	"echo_all": (*peer).echoAll,
	"sink_all": (*peer).sinkAll,
	"served":   (*peer).served, // -> accepted, finished, bytes, errors
	"source":   (*peer).source, // count, size, seed, chunk, concurrency, priority, type -> succeeded, mismatches, errors
}

type peer struct {
	out   *json.Encoder
	outMu sync.Mutex

	ready   chan struct{} // closed when session is set
	session proto.ISession

	ended chan struct{} // closed when the session has ended and end is set
	end   reply

	mu      sync.Mutex
	streams map[frame.StreamId]proto.IStream

	tally tally
}

func newPeer(out io.Writer) *peer {
	return &peer{
		out:     json.NewEncoder(out),
		ready:   make(chan struct{}),
		ended:   make(chan struct{}),
		streams: make(map[frame.StreamId]proto.IStream),
	}
}

// start puts the session to use. Session.Wait answers one caller only, so this calls it once for all.
func (p *peer) start(session proto.ISession) {
	p.session = session
	close(p.ready)
	go func() {
		code, err, debug := session.Wait()
		p.end = reply{"code": code, "err": fmt.Sprint(err), "debug": debug}
		close(p.ended)
	}()
}

func (p *peer) emit(line reply) {
	p.outMu.Lock()
	defer p.outMu.Unlock()
	p.out.Encode(line)
}

func (p *peer) answer(raw json.RawMessage) {
	var c command
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	fields := reply{}
	err := decoder.Decode(&c)
	if err != nil {
		json.Unmarshal(raw, &struct {
			ID *int64 `json:"id"`
		}{&c.ID})
	} else {
		<-p.ready
		fields, err = p.run(&c)
	}
	if fields == nil {
		fields = reply{}
	}
	fields["id"] = c.ID
	if err != nil {
		fields["error"] = err.Error()
	} else {
		fields["ok"] = true
	}
	p.emit(fields)
}

func (p *peer) run(c *command) (fields reply, err error) {
	defer recoverInto(&err)
	handler, ok := handlers[c.Cmd]
	if !ok {
		return nil, fmt.Errorf("unknown command %q", c.Cmd)
	}
	return handler(p, c)
}

func recoverInto(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("panic: %v", r)
	}
}

func (p *peer) keep(s proto.IStream) reply {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.streams[s.Id()] = s
	return reply{"stream": s.Id(), "type": s.StreamType()}
}

func (p *peer) stream(c *command) (proto.IStream, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.streams[frame.StreamId(c.Stream)]
	if !ok {
		return nil, fmt.Errorf("no stream %d was opened or accepted by a command", c.Stream)
	}
	return s, nil
}

func (p *peer) open(c *command) (reply, error) {
	s, err := p.openStream(c)
	if err != nil {
		return nil, err
	}
	return p.keep(s), nil
}

func (p *peer) openStream(c *command) (proto.IStream, error) {
	return p.session.OpenStream(frame.StreamPriority(c.Priority), frame.StreamType(c.Type), c.Fin)
}

func (p *peer) accept(c *command) (reply, error) {
	s, err := p.session.Accept()
	if err != nil {
		return nil, err
	}
	return p.keep(s), nil
}

func (p *peer) write(c *command) (reply, error) {
	s, err := p.stream(c)
	if err != nil {
		return nil, err
	}
	n, err := s.Write(c.Data)
	return reply{"n": n}, err
}

func (p *peer) writeRandom(c *command) (reply, error) {
	s, err := p.stream(c)
	if err != nil {
		return nil, err
	}
	n, sum, err := writeRandom(s, c.Size, c.Seed, c.Chunk, c.Fin)
	return reply{"n": n, "sha256": sum}, err
}

func (p *peer) halfClose(c *command) (reply, error) {
	s, err := p.stream(c)
	if err != nil {
		return nil, err
	}
	n, err := s.HalfClose(c.Data)
	return reply{"n": n}, err
}

func (p *peer) close(c *command) (reply, error) {
	s, err := p.stream(c)
	if err != nil {
		return nil, err
	}
	return nil, s.Close()
}

func (p *peer) read(c *command) (reply, error) {
	s, err := p.stream(c)
	if err != nil {
		return nil, err
	}
	if c.Max <= 0 {
		return nil, errors.New("read wants max, more than 0")
	}
	buf := make([]byte, c.Max)
	n, err := s.Read(buf)
	eof := err == io.EOF
	if eof {
		err = nil
	}
	return reply{"data": buf[:n], "eof": eof}, err
}

func (p *peer) readHash(c *command) (reply, error) {
	s, err := p.stream(c)
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	n, err := io.CopyN(hash, s, c.N)
	return reply{"n": n, "sha256": hex.EncodeToString(hash.Sum(nil))}, err
}

func (p *peer) readAll(c *command) (reply, error) {
	s, err := p.stream(c)
	if err != nil {
		return nil, err
	}
	n, sum, err := readAll(s)
	return reply{"n": n, "sha256": sum}, err
}

func (p *peer) setReadDeadline(c *command) (reply, error) {
	s, err := p.stream(c)
	if err != nil {
		return nil, err
	}
	var deadline time.Time
	if c.Ms > 0 {
		deadline = time.Now().Add(time.Duration(c.Ms) * time.Millisecond)
	}
	return nil, s.SetReadDeadline(deadline)
}

func (p *peer) goAway(c *command) (reply, error) {
	return nil, p.session.GoAway(frame.ErrorCode(c.Code), c.Debug)
}

func (p *peer) sessionClose(c *command) (reply, error) { return nil, p.session.Close() }

func (p *peer) kill(c *command) (reply, error) { return nil, p.session.Kill() }

func (p *peer) wait(c *command) (reply, error) {
	<-p.ended
	fields := reply{}
	for name, value := range p.end {
		fields[name] = value
	}
	return fields, nil
}
