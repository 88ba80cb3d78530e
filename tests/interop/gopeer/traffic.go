package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand"
	"sync"

	"github.com/inconshreveable/muxado/proto"
)

const defaultChunk = 32 << 10

// writeRandom writes size bytes made from seed, chunk bytes a call; with fin, the last call half-closes the stream.
func writeRandom(s proto.IStream, size, seed int64, chunk int, fin bool) (n int64, sum string, err error) {
	if chunk <= 0 {
		chunk = defaultChunk
	}
	random := rand.New(rand.NewSource(seed))
	hash := sha256.New()
	buf := make([]byte, chunk)
	for last := false; !last && err == nil; {
		last = size-n <= int64(chunk)
		if last {
			buf = buf[:size-n]
		}
		random.Read(buf)

		var written int
		if last && fin {
			written, err = s.HalfClose(buf)
		} else {
			written, err = s.Write(buf)
		}
		hash.Write(buf[:written])
		n += int64(written)
	}
	return n, hex.EncodeToString(hash.Sum(nil)), err
}

// readAll reads to EOF. (A Read of the reference can return bytes together with an error; io.Copy counts them.)
func readAll(s proto.IStream) (n int64, sum string, err error) {
	hash := sha256.New()
	n, err = io.Copy(hash, s)
	return n, hex.EncodeToString(hash.Sum(nil)), err
}

// tally counts what the accept loops of echo_all and sink_all did.
type tally struct {
	sync.Mutex
	accepted, finished, bytes int64
	errors                    []string
}

func (p *peer) served(c *command) (reply, error) {
	t := &p.tally
	t.Lock()
	defer t.Unlock()
	errors := append([]string{}, t.errors...)
	return reply{"accepted": t.accepted, "finished": t.finished, "bytes": t.bytes, "errors": errors}, nil
}

func (p *peer) echoAll(c *command) (reply, error) {
	go p.serve(echo)
	return nil, nil
}

func (p *peer) sinkAll(c *command) (reply, error) {
	go p.serve(sink)
	return nil, nil
}

// serve accepts streams until the session ends, each served by a goroutine of its own.
func (p *peer) serve(handle func(proto.IStream) (int64, error)) {
	t := &p.tally
	for {
		s, err := p.session.Accept()
		if err != nil {
			return
		}
		t.Lock()
		t.accepted++
		t.Unlock()

		go func() {
			n, err := guarded(s, handle)
			t.Lock()
			defer t.Unlock()
			t.finished++
			t.bytes += n
			if err != nil {
				t.errors = append(t.errors, fmt.Sprintf("stream %d: %v", s.Id(), err))
			}
		}()
	}
}

func guarded(s proto.IStream, handle func(proto.IStream) (int64, error)) (n int64, err error) {
	defer recoverInto(&err)
	n, err = handle(s)
	if err != nil {
		s.Close()
	}
	return n, err
}

// echo half-closes and does not Close: a Close after it would send a second FIN.
func echo(s proto.IStream) (int64, error) {
	n, err := io.Copy(s, s)
	if err == nil {
		_, err = s.HalfClose(nil)
	}
	return n, err
}

// sink reads to EOF, answers "<bytes> <sha256>\n" and closes.
func sink(s proto.IStream) (int64, error) {
	n, sum, err := readAll(s)
	if err != nil {
		return n, err
	}
	if _, err = fmt.Fprintf(s, "%d %s\n", n, sum); err != nil {
		return n, err
	}
	return n, s.Close()
}

// source opens count streams, at most concurrency at a time, each of which must come back as it was sent.
func (p *peer) source(c *command) (reply, error) {
	if c.Count <= 0 {
		return nil, fmt.Errorf("source wants count, more than 0")
	}
	concurrency := c.Concurrency
	if concurrency <= 0 {
		concurrency = c.Count
	}
	var mu sync.Mutex
	succeeded, mismatches, errors := 0, 0, []string{}

	slots := make(chan struct{}, concurrency)
	var group sync.WaitGroup
	for i := 0; i < c.Count; i++ {
		slots <- struct{}{}
		group.Add(1)
		go func(seed int64) {
			defer group.Done()
			defer func() { <-slots }()
			same, err := p.roundTrip(c, seed)

			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				errors = append(errors, err.Error())
			case same:
				succeeded++
			default:
				mismatches++
			}
		}(c.Seed + int64(i))
	}
	group.Wait()
	return reply{"succeeded": succeeded, "mismatches": mismatches, "errors": errors}, nil
}

// roundTrip sends random bytes and a FIN while it reads; same says whether exactly these came back.
func (p *peer) roundTrip(c *command, seed int64) (same bool, err error) {
	defer recoverInto(&err)
	s, err := p.openStream(c)
	if err != nil {
		return false, err
	}
	type result struct {
		sum string
		err error
	}
	sent := make(chan result, 1)
	go func() {
		var r result
		defer func() { sent <- r }()
		defer recoverInto(&r.err)
		_, r.sum, r.err = writeRandom(s, c.Size, seed, c.Chunk, true)
	}()

	_, got, err := readAll(s)
	if err != nil {
		s.Close()
		return false, fmt.Errorf("stream %d: read: %w", s.Id(), err)
	}
	r := <-sent
	if r.err != nil {
		return false, fmt.Errorf("stream %d: write: %w", s.Id(), r.err)
	}
	return got == r.sum, nil
}
