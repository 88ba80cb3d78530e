// gopeers runs the benchmark workloads over a Go multiplexer, to compare muxpy with it.
//
//	PROGRAM serve MUX             serves on 127.0.0.1 until stdin ends; prints {"port":N} when ready
//	PROGRAM run MUX PORT JOB      runs one job (JSON, see jobs.go) and prints its result as one line of JSON
//
// MUX is muxado, yamux or smux, each built in by the build tag of that name, so that a program needs no more
// packages than its own. A failure is told on stderr, with exit code 1.
//
// What a stream carries is the same for all of them (see serve.go). The first byte says what is wanted:
//
//	's'  sink: pattern bytes until the end; the answer is how many came, 8 bytes
//	't'  timeline: an interval in seconds (float64, 8 bytes), then as for 's'; the answer is the count of
//	     intervals, 4 bytes, and for each the bytes that came in it, 8 bytes
//	'e'  echo: everything after this byte comes back
//
// Numbers are big endian. An answer to bytes that are not the pattern's (pattern.go) has every bit of its first
// number set. How a sender ends its bytes and is answered is the mux's affair: the half-close, where there is one.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sort"
	"strings"
)

const usage = "usage: PROGRAM serve MUX | PROGRAM run MUX PORT JOB"

func main() {
	log.SetFlags(0)
	log.SetPrefix("gopeers: ")
	if len(os.Args) < 3 {
		log.Fatal(usage)
	}
	m, found := muxes[os.Args[2]]
	if !found {
		log.Fatalf("no mux %q in this program, only: %s", os.Args[2], strings.Join(muxNames(), ", "))
	}

	var err error
	switch mode, rest := os.Args[1], os.Args[3:]; {
	case mode == "serve" && len(rest) == 0:
		err = serve(m)
	case mode == "run" && len(rest) == 2:
		err = run(m, rest[0], rest[1])
	default:
		log.Fatal(usage)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func serve(m mux) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := printJSON(map[string]int{"port": listener.Addr().(*net.TCPAddr).Port}); err != nil {
		return err
	}
	go func() {
		log.Fatal(acceptSessions(m, listener))
	}()
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func run(m mux, port, text string) error {
	j, err := parseJob(text)
	if err != nil {
		return err
	}
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return err
	}
	s, err := m.client(conn)
	if err != nil {
		return err
	}
	result, err := j.run(s)
	if err != nil {
		return fmt.Errorf("%s: %w", j.Workload, err)
	}
	return printJSON(result)
}

func printJSON(value interface{}) error { return json.NewEncoder(os.Stdout).Encode(value) }

func muxNames() []string {
	names := make([]string, 0, len(muxes))
	for name := range muxes {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
