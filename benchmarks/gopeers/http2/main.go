// http2 is Go's server of HTTP/2 (golang.org/x/net/http2) without TLS, on one thread, to compare muxpy with it.
//
//	PROGRAM serve http2           serves on 127.0.0.1 until stdin ends; prints {"port":N,"server":PID} when ready
//
// What it answers is what all servers of the measures do: see benchmarks/contenders/_http_app.py.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/net/http2"
)

var (
	small = []byte("hello\n")
	bulk  = make([]byte, 8<<20)
)

func answer(w http.ResponseWriter, r *http.Request) {
	if r.Method == "POST" {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
	}
	body := small
	if r.URL.Path == "/bulk" {
		body = bulk
	}
	w.Header().Set("content-type", "text/plain")
	w.Header().Set("content-length", strconv.Itoa(len(body)))
	w.Write(body)
}

func main() {
	log.SetFlags(0)
	runtime.GOMAXPROCS(1)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("{\"port\":%d,\"server\":%d}\n", listener.Addr().(*net.TCPAddr).Port, os.Getpid())
	server := &http2.Server{}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				log.Fatal(err)
			}
			go server.ServeConn(conn, &http2.ServeConnOpts{Handler: http.HandlerFunc(answer)})
		}
	}()
	io.Copy(io.Discard, os.Stdin)
}
