// gorpc is a server or a client of Go's net/rpc, over Go's muxado or over TCP.
//
//	gorpc serve ADDRESS          dials ADDRESS, and serves the streams that the other end opens
//	gorpc serve-json ADDRESS     the same, in JSON
//	gorpc listen                 serves TCP connections, and prints its port
//	gorpc call ADDRESS           dials ADDRESS, and calls over a stream
//	gorpc call-tcp ADDRESS       calls over a TCP connection
//
// Both callers send their standard input, and print the answer: its digest.
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"

	"github.com/inconshreveable/muxado"
)

// Device is the service.
type Device struct{}

// Digest returns the SHA-256 of its argument, in hexadecimal.
func (Device) Digest(data []byte, digest *string) error {
	*digest = fmt.Sprintf("%x", sha256.Sum256(data))
	return nil
}

func main() {
	if err := rpc.Register(Device{}); err != nil {
		log.Fatal(err)
	}
	switch os.Args[1] {
	case "serve":
		rpc.Accept(dial().NetListener())
	case "serve-json":
		for listener := dial().NetListener(); ; {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go jsonrpc.ServeConn(conn)
		}
	case "listen":
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(listener.Addr().(*net.TCPAddr).Port)
		rpc.Accept(listener)
	case "call":
		conn, err := dial().NetDial("", "")
		call(conn, err)
	case "call-tcp":
		conn, err := net.Dial("tcp", os.Args[2])
		call(conn, err)
	}
}

func dial() muxado.Session {
	session, err := muxado.Dial("tcp", os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	return session
}

func call(conn net.Conn, err error) {
	if err != nil {
		log.Fatal(err)
	}
	data, err := io.ReadAll(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	client := rpc.NewClient(conn)
	var digest string
	if err := client.Call("Device.Digest", data, &digest); err != nil {
		log.Fatal(err)
	}
	client.Close()
	fmt.Println(digest)
}
