// gopeer is one end of a muxado session, played by the Go reference package and told what to do by a test.
//
//	gopeer listen [options] HOST:PORT    accepts one connection and is the server of its session
//	gopeer dial   [options] HOST:PORT    connects and is the client
//
// It prints one line when it is ready, {"event":"listening","addr":...} or {"event":"connected","addr":...},
// then reads commands from stdin, each a JSON object with an "id" and a "cmd" (see commands.go).
// Each command runs in a goroutine of its own and is answered by one line with the same id:
// {"id":1,"ok":true,...}, or {"id":1,"error":"...",...}. The end of stdin ends the process, with no GOAWAY.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"

	"github.com/inconshreveable/muxado/proto"
	"github.com/inconshreveable/muxado/proto/ext"
)

type options struct {
	address     string
	interval    time.Duration
	tolerance   time.Duration
	noHeartbeat bool
	tlsCert     string
	tlsKey      string
	tlsCA       string
	tlsName     string
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("gopeer: ")
	if len(os.Args) < 2 {
		log.Fatal("usage: gopeer listen|dial [options] HOST:PORT")
	}
	mode := os.Args[1]
	opts := parseOptions(os.Args[2:])
	p := newPeer(os.Stdout)

	var err error
	switch mode {
	case "listen":
		err = listen(p, opts)
	case "dial":
		err = dial(p, opts)
	default:
		err = fmt.Errorf("unknown mode %q: want listen or dial", mode)
	}
	if err == nil {
		err = serveCommands(p, os.Stdin)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func parseOptions(args []string) *options {
	o := new(options)
	flags := flag.NewFlagSet("gopeer", flag.ExitOnError)
	flags.DurationVar(&o.interval, "heartbeat-interval", 3*time.Second, "time between two heartbeats")
	flags.DurationVar(&o.tolerance, "heartbeat-tolerance", 10*time.Second, "how late an answer may be")
	flags.BoolVar(&o.noHeartbeat, "no-heartbeat", false, "neither send heartbeats nor answer them")
	flags.StringVar(&o.tlsCert, "tls-cert", "", "listen: certificate chain, a PEM file")
	flags.StringVar(&o.tlsKey, "tls-key", "", "listen: private key, a PEM file")
	flags.StringVar(&o.tlsCA, "tls-ca", "", "dial: authorities to trust, a PEM file")
	flags.StringVar(&o.tlsName, "tls-name", "", "dial: name the certificate must have (default: HOST)")
	flags.Parse(args)
	if flags.NArg() != 1 {
		log.Fatal("want exactly one HOST:PORT, after the options")
	}
	o.address = flags.Arg(0)
	return o
}

func (o *options) extensions() []proto.Extension {
	if o.noHeartbeat {
		return nil
	}
	return []proto.Extension{ext.NewHeartbeat(o.interval, o.tolerance)}
}

func listen(p *peer, o *options) error {
	l, err := net.Listen("tcp", o.address)
	if err != nil {
		return err
	}
	if o.tlsCert != "" {
		cert, err := tls.LoadX509KeyPair(o.tlsCert, o.tlsKey)
		if err != nil {
			return err
		}
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})
	}
	p.emit(reply{"event": "listening", "addr": l.Addr().String()})

	// Commands are read meanwhile, and wait for the session.
	go func() {
		conn, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		l.Close()
		p.start(proto.NewSession(conn, proto.NewStream, false, o.extensions()))
	}()
	return nil
}

func dial(p *peer, o *options) error {
	var conn net.Conn
	var err error
	if o.tlsCA != "" {
		conn, err = dialTLS(o)
	} else {
		conn, err = net.Dial("tcp", o.address)
	}
	if err != nil {
		return err
	}
	p.emit(reply{"event": "connected", "addr": conn.LocalAddr().String()})
	p.start(proto.NewSession(conn, proto.NewStream, true, o.extensions()))
	return nil
}

func dialTLS(o *options) (net.Conn, error) {
	pem, err := os.ReadFile(o.tlsCA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", o.tlsCA)
	}
	return tls.Dial("tcp", o.address, &tls.Config{RootCAs: roots, ServerName: o.tlsName})
}

// serveCommands starts every command that arrives, until stdin ends.
func serveCommands(p *peer, stdin io.Reader) error {
	decoder := json.NewDecoder(stdin)
	for {
		var raw json.RawMessage
		if err := decoder.Decode(&raw); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("stdin is not JSON: %w", err)
		}
		go p.answer(raw)
	}
}
