package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// job has the fields of all workloads; a field that is not here is refused.
//
//	bulk      streams, chunk          each stream sends for that long      -> rate (bytes/s), elapsed (s)
//	echo      streams, size, idle     each stream waits for each echo      -> rate (echoes/s)
//	open      at_once, size           open, an echo, close                 -> rate (cycles/s)
//	timeline  interval, chunk         one stream; bytes of each interval   -> intervals
//
// Times are in seconds. All streams are in one session. A workload is over when all that was begun before the end of
// its time has been answered, and a rate is over all of this. Every byte is checked by the one who receives it.
type job struct {
	Workload string  `json:"workload"`
	Seconds  float64 `json:"seconds"`
	Warmup   float64 `json:"warmup"` // the same for this long first, uncounted
	Streams  int     `json:"streams"`
	AtOnce   int     `json:"at_once"`
	Idle     int     `json:"idle"`     // streams that are open meanwhile and say nothing
	Chunk    int     `json:"chunk"`    // bytes of a write
	Size     int     `json:"size"`     // bytes of an echo
	Interval float64 `json:"interval"` // counted from the first byte's arrival; the last interval is cut short
	Corrupt  *int64  `json:"corrupt"`  // bulk and timeline: spoil this byte of each stream, to see that it is noticed
}

type result map[string]interface{}

// An echo is sent whole before it is read, which the smallest window, muxado's, bears up to this size.
const maxEcho = 64 << 10

// grace is how long the end of a workload may take before it counts as stuck.
const grace = 60 * time.Second

var workloads = map[string]struct {
	run   func(*job, session, float64) (result, error)
	wants func(*job) bool
	needs string
}{
	"bulk":     {(*job).bulk, func(j *job) bool { return j.Streams > 0 && j.Chunk > 0 }, "streams and chunk"},
	"echo":     {(*job).echo, func(j *job) bool { return j.Streams > 0 && j.Size > 0 && j.Idle >= 0 }, "streams and size"},
	"open":     {(*job).open, func(j *job) bool { return j.AtOnce > 0 && j.Size > 0 }, "at_once and size"},
	"timeline": {(*job).timeline, func(j *job) bool { return j.Interval > 0 && j.Chunk > 0 }, "interval and chunk"},
}

func parseJob(text string) (*job, error) {
	j := new(job)
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(j); err != nil {
		return nil, fmt.Errorf("the job: %w", err)
	}
	workload, found := workloads[j.Workload]
	switch {
	case !found:
		return nil, fmt.Errorf("no workload %q", j.Workload)
	case j.Seconds <= 0 || j.Warmup < 0:
		return nil, errors.New("seconds must be positive, and warmup not negative")
	case !workload.wants(j):
		return nil, fmt.Errorf("%s wants %s, more than 0", j.Workload, workload.needs)
	case j.Size > maxEcho:
		return nil, fmt.Errorf("size can be at most %d", maxEcho)
	}
	return j, nil
}

func (j *job) run(s session) (result, error) {
	work := workloads[j.Workload].run
	type outcome struct {
		result
		err error
	}
	ended := make(chan outcome, 1)
	go func() {
		if j.Warmup > 0 {
			if _, err := work(j, s, j.Warmup); err != nil {
				ended <- outcome{nil, err}
				return
			}
		}
		r, err := work(j, s, j.Seconds)
		ended <- outcome{r, err}
	}()
	select {
	case o := <-ended:
		return o.result, o.err
	case <-time.After(seconds(j.Warmup+j.Seconds) + grace):
		return nil, errors.New("stuck")
	}
}

func (j *job) bulk(s session, length float64) (result, error) {
	source := repeated(j.Chunk)
	var total int64
	start := time.Now()
	deadline := start.Add(seconds(length))
	err := together(j.Streams, func(int) error {
		st, err := s.open()
		if err != nil {
			return err
		}
		if _, err := st.Write([]byte{'s'}); err != nil {
			return err
		}
		sent, reply, err := j.send(st, source, deadline)
		if err != nil {
			return err
		}
		if len(reply) != 8 {
			return fmt.Errorf("an answer of %d bytes", len(reply))
		}
		if count := binary.BigEndian.Uint64(reply); count == wrongCount {
			return errWrongBytes
		} else if count != uint64(sent) {
			return fmt.Errorf("%d bytes were sent and %d received", sent, count)
		}
		atomic.AddInt64(&total, sent)
		return nil
	})
	elapsed := time.Since(start).Seconds()
	return result{"rate": float64(total) / elapsed, "elapsed": elapsed}, err
}

func (j *job) timeline(s session, length float64) (result, error) {
	st, err := s.open()
	if err != nil {
		return nil, err
	}
	if _, err := st.Write(binary.BigEndian.AppendUint64([]byte{'t'}, math.Float64bits(j.Interval))); err != nil {
		return nil, err
	}
	sent, reply, err := j.send(st, repeated(j.Chunk), time.Now().Add(seconds(length)))
	if err != nil {
		return nil, err
	}
	if len(reply) == 4 && binary.BigEndian.Uint32(reply) == math.MaxUint32 {
		return nil, errWrongBytes
	}
	if len(reply) < 4 || len(reply) != 4+8*int(binary.BigEndian.Uint32(reply)) {
		return nil, fmt.Errorf("an answer of %d bytes", len(reply))
	}
	intervals := []uint64{}
	var total uint64
	for reply = reply[4:]; len(reply) > 0; reply = reply[8:] {
		count := binary.BigEndian.Uint64(reply)
		intervals = append(intervals, count)
		total += count
	}
	if total != uint64(sent) {
		return nil, fmt.Errorf("%d bytes were sent and %d received", sent, total)
	}
	return result{"intervals": intervals}, nil
}

var errWrongBytes = errors.New("the receiver got other bytes than were sent")

// send writes chunks of the pattern, which source repeats, until the deadline, and returns what was answered.
func (j *job) send(st stream, source []byte, deadline time.Time) (sent int64, reply []byte, err error) {
	for time.Now().Before(deadline) {
		at := int(sent % patternSize)
		chunk := source[at : at+j.Chunk]
		if j.Corrupt != nil && *j.Corrupt >= sent && *j.Corrupt < sent+int64(j.Chunk) {
			chunk = append([]byte(nil), chunk...)
			chunk[*j.Corrupt-sent] ^= 1
		}
		n, err := st.Write(chunk)
		sent += int64(n)
		if err != nil {
			return sent, nil, err
		}
	}
	reply, err = st.finish()
	return sent, reply, err
}

func (j *job) echo(s session, length float64) (result, error) {
	streams := make([]stream, j.Streams+j.Idle)
	buffers := make([][]byte, len(streams))
	// All are known to the server before the clock starts.
	err := together(len(streams), func(i int) (err error) {
		buffers[i] = make([]byte, j.Size)
		if streams[i], err = s.open(); err != nil {
			return err
		}
		return roundTrip(streams[i], append([]byte{'e'}, piece(0, j.Size)...), buffers[i])
	})
	if err != nil {
		return nil, err
	}

	var total int64
	start := time.Now()
	deadline := start.Add(seconds(length))
	err = together(j.Streams, func(i int) error {
		count := int64(0)
		for ; time.Now().Before(deadline); count++ {
			if err := roundTrip(streams[i], piece(count*int64(j.Size), j.Size), buffers[i]); err != nil {
				return err
			}
		}
		atomic.AddInt64(&total, count)
		return nil
	})
	elapsed := time.Since(start).Seconds()
	if err != nil {
		return nil, err
	}
	err = together(len(streams), func(i int) error { return streams[i].close() })
	return result{"rate": float64(total) / elapsed}, err
}

func (j *job) open(s session, length float64) (result, error) {
	message := append([]byte{'e'}, piece(0, j.Size)...)
	var total int64
	start := time.Now()
	deadline := start.Add(seconds(length))
	err := together(j.AtOnce, func(int) error {
		buf := make([]byte, j.Size)
		count := int64(0)
		for ; time.Now().Before(deadline); count++ {
			st, err := s.open()
			if err != nil {
				return err
			}
			if err := roundTrip(st, message, buf); err != nil {
				return err
			}
			if err := st.close(); err != nil {
				return err
			}
		}
		atomic.AddInt64(&total, count)
		return nil
	})
	elapsed := time.Since(start).Seconds()
	return result{"rate": float64(total) / elapsed}, err
}

// roundTrip sends message, whose end as long as buf must come back.
func roundTrip(st stream, message, buf []byte) error {
	if _, err := st.Write(message); err != nil {
		return err
	}
	if _, err := io.ReadFull(st, buf); err != nil {
		return err
	}
	if !bytes.Equal(buf, message[len(message)-len(buf):]) {
		return errors.New("an echo is not what was sent")
	}
	return nil
}

// together runs work n times in parallel, and returns when all have ended or the first one fails.
func together(n int, work func(i int) error) error {
	failed := make(chan error, n)
	var group sync.WaitGroup
	for i := 0; i < n; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			if err := work(i); err != nil {
				failed <- err
			}
		}(i)
	}
	go func() {
		group.Wait()
		close(failed)
	}()
	return <-failed
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
