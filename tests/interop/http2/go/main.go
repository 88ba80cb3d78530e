// A client and a server of HTTP/2 made of Go's net/http and golang.org/x/net/http2, for the tests beside it.
//
//	http2peer ask [-ca FILE] [-count N] WHAT URL    does what client.go lists, and prints what came of it as JSON
//	http2peer serve [-cert FILE -key FILE] [-streams N]    prints its address; "stop" on standard input ends it gracefully
//	http2peer differ-ask [CA]          plays plans from standard input: see differential.go
//	http2peer differ-serve [CERT KEY]  the same
//
// With TLS it is the HTTP/2 of net/http, otherwise that of golang.org/x/net by prior knowledge.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("usage: http2peer ask|serve ..."))
	}
	switch os.Args[1] {
	case "ask":
		ask(os.Args[2:])
	case "serve":
		serve(os.Args[2:])
	case "differ-ask":
		differAsk(os.Args[2:])
	case "differ-serve":
		differServe(os.Args[2:])
	default:
		fail(fmt.Errorf("unknown command %q", os.Args[1]))
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
