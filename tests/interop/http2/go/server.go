package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"
)

func serve(args []string) {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	cert := flags.String("cert", "", "file of the certificate")
	key := flags.String("key", "", "file of its key")
	streams := flags.Int("streams", 0, "most streams of a connection")
	flags.Parse(args)

	mux := http.NewServeMux()
	for path, handler := range pages() {
		mux.HandleFunc(path, handler)
	}
	http2Server := &http2.Server{MaxConcurrentStreams: uint32(*streams)}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "CONNECT" {
			connect(w, r) // the mux would send it elsewhere
		} else {
			mux.ServeHTTP(w, r)
		}
	})}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	fmt.Println("listening at", listener.Addr().(*net.TCPAddr).Port)
	go func() {
		if *cert != "" {
			if *streams > 0 {
				http2.ConfigureServer(server, http2Server)
			}
			server.ServeTLS(listener, *cert, *key)
		} else {
			http2.ConfigureServer(server, http2Server) // or a graceful end would not reach its connections
			server.Handler = h2c.NewHandler(server.Handler, http2Server)
			server.Serve(listener)
		}
	}()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if lines.Text() == "stop" {
			go server.Shutdown(context.Background())
		}
	}
}

func pages() map[string]http.HandlerFunc {
	cut := &counter{}
	cut.changed = sync.NewCond(&cut.mu)
	return map[string]http.HandlerFunc{
		"/hello": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello\n") },
		"/hash":  hash,
		"/bytes": sendBytes,
		"/echo":  echo,
		"/status": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("x-told", "yes")
			w.WriteHeader(number(r, "is"))
		},
		"/refuse": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(413)
			io.WriteString(w, "too much\n")
		},
		"/hints": hints,
		"/push": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintln(w, w.(http.Pusher).Push("/hello", nil))
		},
		"/abort": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "begun\n")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		},
		"/hang": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "begun\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			cut.add()
		},
		"/cut": func(w http.ResponseWriter, r *http.Request) { // as soon as so many of /hang were cut short
			cut.wait(number(r, "of"))
			io.WriteString(w, "cut\n")
		},
	}
}

type counter struct {
	mu      sync.Mutex
	changed *sync.Cond
	count   int
}

func (c *counter) add() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	c.changed.Broadcast()
}

func (c *counter) wait(count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.count < count {
		c.changed.Wait()
	}
}

func number(r *http.Request, name string) int {
	value, err := strconv.Atoi(r.URL.Query().Get(name))
	if err != nil {
		panic(err)
	}
	return value
}

func hash(w http.ResponseWriter, r *http.Request) {
	digest := sha256.New()
	size, err := io.Copy(digest, r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // which is not logged
	}
	fmt.Fprintf(w, "%d %s", size, hex.EncodeToString(digest.Sum(nil)))
	for name, values := range r.Trailer {
		fmt.Fprintf(w, " %s=%s", name, values[0])
	}
	fmt.Fprintln(w)
}

func sendBytes(w http.ResponseWriter, r *http.Request) {
	data := random(int64(number(r, "name")), number(r, "size"))
	w.Header().Set("Trailer", "X-Sha256")
	w.Write(data)
	w.Header().Set("X-Sha256", sum(data))
}

func echo(w http.ResponseWriter, r *http.Request) {
	digest := sha256.New()
	w.(http.Flusher).Flush()
	buffer := make([]byte, 65536)
	for {
		n, err := r.Body.Read(buffer)
		digest.Write(buffer[:n])
		w.Write(buffer[:n])
		w.(http.Flusher).Flush()
		if err == io.EOF {
			break
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
	for name, values := range r.Trailer {
		w.Header().Set(http.TrailerPrefix+name, values[0])
	}
	w.Header().Set(http.TrailerPrefix+"X-Sha256", hex.EncodeToString(digest.Sum(nil)))
}

func hints(w http.ResponseWriter, r *http.Request) {
	for _, link := range []string{"</app.css>; rel=preload", "</app.js>; rel=preload"} {
		w.Header().Set("Link", link)
		w.WriteHeader(103)
	}
	w.Header().Del("Link")
	io.WriteString(w, "hinted\n")
}

func connect(w http.ResponseWriter, r *http.Request) {
	target, err := net.Dial("tcp", r.Host)
	if err != nil {
		w.WriteHeader(502)
		return
	}
	defer target.Close()
	w.(http.Flusher).Flush()
	go func() {
		io.Copy(target, r.Body)
		target.(*net.TCPConn).CloseWrite()
	}()
	buffer := make([]byte, 65536)
	for {
		n, err := target.Read(buffer)
		w.Write(buffer[:n])
		w.(http.Flusher).Flush()
		if err != nil {
			return
		}
	}
}
