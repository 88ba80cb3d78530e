package main

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"sync"
	"time"
)

// wrongCount is what a sink answers to bytes that are not the pattern's; timeline answers with its lower half.
const wrongCount = math.MaxUint64

// Streams come and go by the thousand, so their buffers are used again.
var buffers = sync.Pool{New: func() interface{} { return new([patternSize]byte) }}

func acceptSessions(m mux, listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		s, err := m.server(conn)
		if err != nil {
			return err
		}
		go acceptStreams(s)
	}
}

func acceptStreams(s session) {
	for {
		st, err := s.accept()
		if err != nil {
			return // the client is gone
		}
		go func() {
			buf := buffers.Get().(*[patternSize]byte)
			defer buffers.Put(buf)
			if handle(st, buf[:]) != nil {
				st.close() // an error means that the session is gone, or soon will be: the client reports it
			}
		}()
	}
}

func handle(st stream, buf []byte) error {
	n, err := st.Read(buf)
	if n == 0 {
		return err
	}
	switch first, rest := buf[0], buf[1:n]; first {
	case 's':
		return sink(st, buf, rest)
	case 't':
		return timeline(st, buf, rest)
	case 'e':
		return echo(st, buf, rest)
	}
	return errors.New("the first byte is not known")
}

func echo(st stream, buf, data []byte) error {
	for {
		if len(data) > 0 {
			if _, err := st.Write(data); err != nil {
				return err
			}
		}
		n, err := st.Read(buf)
		if data = buf[:n]; n == 0 && err == io.EOF {
			return st.close()
		} else if n == 0 && err != nil {
			return err
		}
	}
}

func sink(st stream, buf, data []byte) error {
	total, same, err := check(st, buf, data, func(int) {})
	if err != nil {
		return err
	}
	count := uint64(total)
	if !same {
		count = wrongCount
	}
	return st.answer(binary.BigEndian.AppendUint64(nil, count))
}

func timeline(st stream, buf, data []byte) error {
	head := append(make([]byte, 0, len(buf)), data...)
	for len(head) < 8 {
		n, err := st.Read(buf)
		if n == 0 && err != nil {
			return err
		}
		head = append(head, buf[:n]...)
	}
	interval := math.Float64frombits(binary.BigEndian.Uint64(head))
	if !(interval > 0) {
		return errors.New("the interval must be positive")
	}

	var start time.Time
	var intervals []uint64
	_, same, err := check(st, buf, head[8:], func(n int) {
		if start.IsZero() {
			start = time.Now()
		}
		for now := int(time.Since(start).Seconds() / interval); len(intervals) <= now; {
			intervals = append(intervals, 0)
		}
		intervals[len(intervals)-1] += uint64(n)
	})
	if err != nil {
		return err
	}
	if !same {
		return st.answer(binary.BigEndian.AppendUint32(nil, math.MaxUint32))
	}
	reply := binary.BigEndian.AppendUint32(nil, uint32(len(intervals)))
	for _, count := range intervals {
		reply = binary.BigEndian.AppendUint64(reply, count)
	}
	return st.answer(reply)
}

// check reads to EOF, starting with data, which has been read already. It tells how many bytes came, and whether all
// were the pattern's; if not, it still reads all, for the sender would otherwise wait for window forever.
func check(st stream, buf, data []byte, came func(int)) (total int64, same bool, err error) {
	same = true
	for {
		if len(data) > 0 {
			came(len(data))
			same = same && isPattern(data, total)
			total += int64(len(data))
		}
		n, err := st.Read(buf)
		if data = buf[:n]; n == 0 && err == io.EOF {
			return total, same, nil
		} else if n == 0 && err != nil {
			return total, same, err
		}
	}
}
