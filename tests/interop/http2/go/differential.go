package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"

	"golang.org/x/net/http2"
)

// exchange is a request and its response as they are planned: see plan.py in tests/fuzz/differential/http2.
type exchange struct {
	Number           int         `json:"number"`
	Method           string      `json:"method"`
	Path             string      `json:"path"`
	Authority        string      `json:"authority"`
	Fields           [][2]string `json:"fields"`
	Body             []int       `json:"body"` // nil: none at all
	Length           bool        `json:"length"`
	Trailers         [][2]string `json:"trailers"`
	WaitAt           int         `json:"wait_at"`
	WaitFor          string      `json:"wait_for"`
	ClientReset      string      `json:"client_reset"`
	Answer           string      `json:"answer"`
	Status           int         `json:"status"`
	ResponseFields   [][2]string `json:"response_fields"`
	ResponseBody     []int       `json:"response_body"`
	ResponseLength   bool        `json:"response_length"`
	ResponseTrailers [][2]string `json:"response_trailers"`
	Announce         bool        `json:"announce"`
	ServerReset      int         `json:"server_reset"`
	Flush            bool        `json:"flush"`
}

// plan is what happens on one connection.
type plan struct {
	Port      int        `json:"port"`    // of the server, for a client
	Streams   uint32     `json:"streams"` // that a server takes at the same time; 0: as many as it likes
	Exchanges []exchange `json:"exchanges"`
}

// view is what an application saw of an exchange.
type view struct {
	Number    int         `json:"number"`
	Method    string      `json:"method"`
	Path      string      `json:"path"`
	Authority string      `json:"authority"`
	Status    int         `json:"status"`
	Fields    [][2]string `json:"fields"`
	Length    int64       `json:"length"` // -1: not announced
	Body      string      `json:"body"`
	Trailers  [][2]string `json:"trailers"`
	End       string      `json:"end"` // of what was received
	Cut       bool        `json:"cut"` // the peer gave up afterwards
}

type content struct {
	digest interface {
		io.Writer
		Sum([]byte) []byte
	}
	size int
}

func newContent() *content { return &content{digest: sha256.New()} }

func (c *content) String() string {
	return fmt.Sprint(c.size, " bytes ", hex.EncodeToString(c.digest.Sum(nil))[:16])
}

// read reads to the end, and calls progress with the count so far.
func (c *content) read(from io.Reader, progress func(int)) error {
	buffer := make([]byte, 20000)
	for {
		progress(c.size)
		n, err := from.Read(buffer)
		c.digest.Write(buffer[:n])
		c.size += n
		if err == io.EOF {
			progress(c.size)
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func nothing(int) {}

// bytesOf is a part of what one end sends in an exchange, as content() of plan.py.
func bytesOf(number int, server bool, start, size int) []byte {
	start += 2 * number
	if server {
		start++
	}
	data := make([]byte, size)
	for index := range data {
		data[index] = byte((start + index) % 251)
	}
	return data
}

func total(sizes []int) int {
	sum := 0
	for _, size := range sizes {
		sum += size
	}
	return sum
}

// Values are bytes; as JSON they are text whose code points are these bytes.
func toBytes(text string) string {
	var bytes []byte
	for _, point := range text {
		bytes = append(bytes, byte(point))
	}
	return string(bytes)
}

func toText(bytes string) string {
	var text strings.Builder
	for index := 0; index < len(bytes); index++ {
		text.WriteRune(rune(bytes[index]))
	}
	return text.String()
}

func add(to http.Header, prefix string, fields [][2]string) {
	for _, field := range fields {
		to.Add(prefix+http.CanonicalHeaderKey(field[0]), toBytes(field[1]))
	}
}

func names(fields [][2]string) string {
	var all []string
	for _, field := range fields {
		all = append(all, field[0])
	}
	return strings.Join(all, ", ")
}

func listed(header http.Header) [][2]string {
	fields := [][2]string{}
	for name, values := range header {
		for _, value := range values {
			fields = append(fields, [2]string{name, toText(value)})
		}
	}
	return fields
}

var streamError = regexp.MustCompile(`stream error: stream ID \d+; ([A-Z0-9_]+)`)

func ending(err error) string {
	if err == nil {
		return "clean"
	}
	if found := streamError.FindStringSubmatch(err.Error()); found != nil {
		return "reset " + found[1]
	}
	return err.Error()
}

// h2 is what ALPN offers and chooses.
var h2 = []string{"h2"}

// ---- the server ----

// differServe reads plans from standard input, and answers each with what its handlers saw as soon as all have returned.
func differServe(files []string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	if len(files) > 0 {
		pair, err := tls.LoadX509KeyPair(files[0], files[1])
		if err != nil {
			fail(err)
		}
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: h2})
	}
	fmt.Println("listening at", listener.Addr().(*net.TCPAddr).Port)
	s := &differServer{}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				fail(err)
			}
			server := &http2.Server{MaxConcurrentStreams: s.streams()}
			go func() {
				// ServeConn looks at what was agreed on.
				if secure, ok := conn.(*tls.Conn); ok && secure.Handshake() != nil {
					conn.Close()
					return
				}
				server.ServeConn(conn, &http2.ServeConnOpts{Handler: s})
			}()
		}
	}()
	plans := json.NewDecoder(os.Stdin)
	for {
		var told plan
		if plans.Decode(&told) != nil {
			return
		}
		s.begin(told)
		fmt.Println("ready")
	}
}

type differServer struct {
	mu      sync.Mutex
	plan    map[string]exchange
	most    uint32 // streams at the same time
	waiting int    // for so many views
	views   []view
}

func (s *differServer) streams() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

func (s *differServer) begin(plan plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan, s.most, s.waiting, s.views = map[string]exchange{}, plan.Streams, 0, []view{}
	for _, x := range plan.Exchanges {
		s.plan[x.Fields[0][1]] = x
		if x.ClientReset != "at any time" {
			s.waiting++
		}
	}
	s.tell()
}

// tell says what was seen if that is everything.
func (s *differServer) tell() {
	if len(s.views) == s.waiting {
		told, _ := json.Marshal(s.views)
		fmt.Println("saw", string(told))
	}
}

func (s *differServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	x, ok := s.plan[r.Header.Get("x-exchange")]
	s.mu.Unlock()
	if !ok {
		return // of the plan before, and given up; or the first one of a client
	}
	saw := view{
		Number: x.Number, Method: r.Method, Path: toText(r.RequestURI), Authority: r.Host, Fields: listed(r.Header),
		Length: r.ContentLength, Trailers: [][2]string{}, End: "unread",
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if x.ClientReset == "at any time" {
			return
		}
		s.views = append(s.views, saw)
		s.tell()
	}()
	x.answer(w, r, &saw)
}

func (x exchange) answer(w http.ResponseWriter, r *http.Request, saw *view) {
	read := func() {
		body := newContent()
		saw.End = ending(body.read(r.Body, nothing))
		saw.Body, saw.Trailers = body.String(), listed(r.Trailer)
	}
	if x.Answer == "late" {
		read()
	}
	if x.ServerReset == 0 {
		panic(http.ErrAbortHandler)
	}
	header := w.Header()
	header["Content-Type"] = nil // no guess
	add(header, "", x.ResponseFields)
	if x.ResponseLength {
		header.Set("Content-Length", fmt.Sprint(total(x.ResponseBody)))
	}
	if x.Announce {
		header.Set("Trailer", names(x.ResponseTrailers))
	}
	w.WriteHeader(x.Status)
	flush := w.(http.Flusher).Flush
	if x.Flush || x.Answer == "early" || x.ServerReset > 0 {
		flush()
	}
	start := 0
	for index, size := range x.ResponseBody {
		if x.ServerReset == index+1 {
			panic(http.ErrAbortHandler)
		}
		w.Write(bytesOf(x.Number, true, start, size))
		start += size
		if x.Flush || x.Answer == "early" || x.ServerReset > 0 {
			flush()
		}
	}
	if x.ServerReset > 0 {
		panic(http.ErrAbortHandler)
	}
	if x.Answer == "early" {
		read()
	}
	if x.ClientReset == "closed" {
		flush()
		<-r.Context().Done()
		saw.Cut = true
	}
	if x.Announce {
		add(header, "", x.ResponseTrailers)
	} else {
		add(header, http.TrailerPrefix, x.ResponseTrailers)
	}
}

// ---- the client ----

// differAsk reads plans with the URL to ask from standard input, and answers each with what came of it.
func differAsk(authorities []string) {
	scheme, dial := "http", net.Dial
	if len(authorities) > 0 {
		trusted, err := trusting(authorities[0])
		if err != nil {
			fail(err)
		}
		trusted.NextProtos = h2
		scheme = "https"
		dial = func(network, address string) (net.Conn, error) { return tls.Dial(network, address, trusted) }
	}
	plans := json.NewDecoder(os.Stdin)
	for {
		var plan plan
		if plans.Decode(&plan) != nil {
			return
		}
		transport := &http2.Transport{
			AllowHTTP:          true,
			DisableCompression: true,
			// It waits rather than to open another connection.
			StrictMaxConcurrentStreams: true,
			DialTLS: func(network, _ string, _ *tls.Config) (net.Conn, error) {
				return dial(network, fmt.Sprint("127.0.0.1:", plan.Port))
			},
		}
		greet(transport, scheme)
		views := make([]view, len(plan.Exchanges))
		var all sync.WaitGroup
		for index := range plan.Exchanges {
			all.Add(1)
			go func(index int) {
				views[index] = plan.Exchanges[index].ask(transport, scheme)
				all.Done()
			}(index)
		}
		all.Wait()
		transport.CloseIdleConnections()
		told, _ := json.Marshal(views)
		fmt.Println("saw", string(told))
	}
}

// one host for the transport, which has a connection for each, whatever the requests have as their authority.
const one = "example.test"

// greet makes a first request, after which the transport knows how many streams the server takes.
func greet(transport http.RoundTripper, scheme string) {
	request, err := http.NewRequest("GET", scheme+"://"+one+"/", nil)
	if err != nil {
		fail(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		fmt.Fprintln(os.Stderr, "greeting:", err)
		return
	}
	response.Body.Close()
}

func (x exchange) ask(transport http.RoundTripper, scheme string) view {
	saw := view{Number: x.Number, Fields: [][2]string{}, Trailers: [][2]string{}, Length: -1}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reader, writer := io.Pipe()
	request := (&http.Request{
		Method: x.Method, Host: x.Authority, Header: http.Header{},
		URL: &url.URL{Scheme: scheme, Host: one, Opaque: "//" + x.Authority + toBytes(x.Path)}, // this very path
	}).WithContext(ctx)
	add(request.Header, "", x.Fields)
	if request.Header["User-Agent"] == nil {
		request.Header["User-Agent"] = []string{""} // none
	}
	if x.Body != nil {
		request.Body, request.ContentLength = reader, -1
		if x.Length {
			request.ContentLength = int64(total(x.Body))
		}
	}
	if len(x.Trailers) > 0 {
		request.Trailer = http.Header{}
		add(request.Trailer, "", x.Trailers)
	}
	reached := map[string]chan struct{}{"head": make(chan struct{}), "body": make(chan struct{})}
	reach := func(what string) {
		select {
		case <-reached[what]:
		default:
			close(reached[what])
		}
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if x.Body != nil {
			x.send(writer, reached)
		}
	}()
	if x.ClientReset == "at any time" {
		go func() {
			<-sent
			cancel()
		}()
	}
	response, err := transport.RoundTrip(request)
	if x.ClientReset == "at any time" {
		cancel()
		reader.Close()
		<-sent
		saw.End = "given up"
		return saw
	}
	reach("head")
	if err != nil {
		reach("body")
		reader.CloseWithError(err)
		<-sent
		saw.End = ending(err)
		return saw
	}
	defer response.Body.Close()
	saw.Status, saw.Fields, saw.Length = response.StatusCode, listed(response.Header), response.ContentLength
	if x.ClientReset != "" {
		// Enough of the body, so that the server has come so far.
		_, err := io.ReadFull(response.Body, make([]byte, total(x.ResponseBody)))
		reach("body")
		<-sent
		cancel()
		saw.End = "given up"
		if err != nil {
			saw.End = ending(err)
		}
		writer.Close()
		return saw
	}
	body := newContent()
	err = body.read(response.Body, func(count int) {
		if count >= total(x.ResponseBody) {
			reach("body")
		}
	})
	reach("body")
	saw.Body, saw.End, saw.Trailers = body.String(), ending(err), listed(response.Trailer)
	response.Body.Close()
	reader.Close()
	<-sent
	return saw
}

func (x exchange) send(to *io.PipeWriter, reached map[string]chan struct{}) {
	start := 0
	for index := 0; index <= len(x.Body); index++ {
		if x.WaitAt == index {
			<-reached[x.WaitFor]
		}
		if index < len(x.Body) {
			if _, err := to.Write(bytesOf(x.Number, false, start, x.Body[index])); err != nil {
				return
			}
			start += x.Body[index]
		}
	}
	if x.ClientReset == "" || x.ClientReset == "closed" {
		to.Close()
	}
}
