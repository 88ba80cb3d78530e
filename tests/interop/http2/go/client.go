package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

const patience = 5 * time.Minute

type client struct {
	http  *http.Client
	base  string
	count int
}

type result map[string]interface{}

var scenarios = map[string]func(*client) (result, error){
	"many":    (*client).many,    // uploads and downloads at the same time, hashes checked at both ends
	"duplex":  (*client).duplex,  // a conversation on one stream, with trailers both ways
	"cancel":  (*client).cancel,  // requests whose contexts are cancelled in the midst of their answers
	"expect":  (*client).expect,  // Expect: 100-continue
	"hints":   (*client).hints,   // interim responses
	"plain":   (*client).plain,   // HEAD, 204, 304, and an answer that does not read the body
	"traffic": (*client).traffic, // requests until the server is gone
	"tunnel":  (*client).tunnel,  // CONNECT; the target is $TARGET
}

var errDial = errors.New("cannot connect")

func ask(args []string) {
	flags := flag.NewFlagSet("ask", flag.ExitOnError)
	ca := flags.String("ca", "", "file of the certificate to trust")
	count := flags.Int("count", 100, "how many")
	flags.Parse(args)
	scenario, ok := scenarios[flags.Arg(0)]
	if !ok {
		fail(fmt.Errorf("unknown scenario %q", flags.Arg(0)))
	}
	transport, err := newTransport(*ca)
	if err != nil {
		fail(err)
	}
	c := &client{&http.Client{Transport: transport, Timeout: patience}, flags.Arg(1), *count}
	found, err := scenario(c)
	if err != nil {
		fail(err)
	}
	json.NewEncoder(os.Stdout).Encode(found)
}

func newTransport(ca string) (http.RoundTripper, error) {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, fmt.Errorf("%w: %v", errDial, err)
		}
		return conn, nil
	}
	if ca == "" {
		// Only a transport that was made for another has a time-out of 100-continue.
		transport, err := http2.ConfigureTransports(&http.Transport{ExpectContinueTimeout: patience})
		if err != nil {
			return nil, err
		}
		transport.ConnPool = nil
		transport.AllowHTTP = true
		transport.DialTLS = func(network, address string, _ *tls.Config) (net.Conn, error) {
			return dial(context.Background(), network, address)
		}
		return transport, nil
	}
	trusted, err := trusting(ca)
	if err != nil {
		return nil, err
	}
	return &http.Transport{
		DialContext:           dial,
		ForceAttemptHTTP2:     true,
		TLSClientConfig:       trusted,
		ExpectContinueTimeout: patience,
	}, nil
}

func trusting(ca string) (*tls.Config, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: pool}, nil
}

func sum(data []byte) string {
	digest := sha256.Sum256(data)
	return hex.EncodeToString(digest[:])
}

func random(seed int64, size int) []byte {
	data := make([]byte, size)
	rand.New(rand.NewSource(seed)).Read(data)
	return data
}

// do sends a request and reads all of the answer.
func (c *client) do(request *http.Request) (*http.Response, []byte, error) {
	response, err := c.http.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	if response.ProtoMajor != 2 {
		return nil, nil, fmt.Errorf("the protocol is %s", response.Proto)
	}
	body, err := io.ReadAll(response.Body)
	return response, body, err
}

func (c *client) request(method, path string, body io.Reader) *http.Request {
	request, err := http.NewRequest(method, c.base+path, body)
	if err != nil {
		fail(err)
	}
	return request
}

// together runs it count times at the same time, and returns the first error.
func (c *client) together(run func(number int) error) error {
	failed := make(chan error, c.count)
	for number := 0; number < c.count; number++ {
		go func(number int) { failed <- run(number) }(number)
	}
	var first error
	for number := 0; number < c.count; number++ {
		if err := <-failed; err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (c *client) many() (result, error) {
	return result{}, c.together(func(number int) error {
		uploaded := make(chan error)
		go func() { uploaded <- c.upload(number) }()
		err := c.download(number)
		if failed := <-uploaded; err == nil {
			err = failed
		}
		return err
	})
}

func (c *client) upload(number int) error {
	data := random(int64(number), 3000*number)
	request := c.request("POST", "/hash", bytes.NewReader(data))
	if number%2 == 1 {
		request.ContentLength = -1
	}
	_, said, err := c.do(request)
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("%d %s\n", len(data), sum(data)); string(said) != want {
		return fmt.Errorf("the server says %q and not %q", said, want)
	}
	return nil
}

func (c *client) download(number int) error {
	size := 200000 - 1500*number
	response, data, err := c.do(c.request("GET", fmt.Sprintf("/bytes?name=%d&size=%d&trailers=1", number, size), nil))
	if err != nil {
		return err
	}
	if len(data) != size || response.Trailer.Get("x-sha256") != sum(data) {
		return fmt.Errorf("%d bytes, trailers %v", len(data), response.Trailer)
	}
	return nil
}

func (c *client) duplex() (result, error) {
	return result{}, c.together(func(number int) error {
		reader, writer := io.Pipe()
		request := c.request("POST", "/echo", reader)
		request.Trailer = http.Header{"X-Before": nil}
		response, err := c.http.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		digest := sha256.New()
		for round := 0; round < 30; round++ {
			data := random(int64(round), 1+2000*round)
			go writer.Write(data)
			back := make([]byte, len(data))
			if _, err := io.ReadFull(response.Body, back); err != nil {
				return err
			}
			if !bytes.Equal(back, data) {
				return errors.New("something else came back")
			}
			digest.Write(data)
		}
		request.Trailer.Set("X-Before", fmt.Sprint(number))
		writer.Close()
		rest, err := io.ReadAll(response.Body)
		if err != nil || len(rest) > 0 {
			return fmt.Errorf("%d more bytes: %v", len(rest), err)
		}
		want := hex.EncodeToString(digest.Sum(nil))
		if response.Trailer.Get("x-sha256") != want || response.Trailer.Get("x-before") != fmt.Sprint(number) {
			return fmt.Errorf("trailers %v", response.Trailer)
		}
		return nil
	})
}

func (c *client) cancel() (result, error) {
	err := c.together(func(number int) error {
		ctx, cancel := context.WithCancel(context.Background())
		path := fmt.Sprintf("/hang?name=%d&of=%d", number, c.count)
		response, err := c.http.Do(c.request("GET", path, nil).WithContext(ctx))
		if err != nil {
			cancel()
			return err
		}
		begun := make([]byte, 6)
		_, err = io.ReadFull(response.Body, begun)
		cancel()
		response.Body.Close()
		return err
	})
	if err != nil {
		return nil, err
	}
	_, body, err := c.do(c.request("GET", "/hello", nil))
	return result{"after": string(body)}, err
}

func (c *client) expect() (result, error) {
	continued := 0
	trace := &httptrace.ClientTrace{Got100Continue: func() { continued++ }}
	ctx := httptrace.WithClientTrace(context.Background(), trace)
	data := random(1, 1000000)
	request := c.request("POST", "/hash", bytes.NewReader(data)).WithContext(ctx)
	request.Header.Set("Expect", "100-continue")
	_, said, err := c.do(request)
	if err != nil {
		return nil, err
	}
	if want := fmt.Sprintf("%d %s\n", len(data), sum(data)); string(said) != want {
		return nil, fmt.Errorf("the server says %q and not %q", said, want)
	}
	body := &counted{Reader: bytes.NewReader(data)}
	request = c.request("POST", "/refuse", body).WithContext(ctx)
	request.Header.Set("Expect", "100-continue")
	response, said, err := c.do(request)
	if err != nil {
		return nil, err
	}
	return result{"continued": continued, "status": response.StatusCode, "said": string(said), "read": body.count()}, nil
}

type counted struct {
	io.Reader
	mu sync.Mutex
	n  int
}

func (r *counted) Read(to []byte) (int, error) {
	n, err := r.Reader.Read(to)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n += n
	return n, err
}

func (r *counted) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

func (c *client) hints() (result, error) {
	links := []string{}
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		links = append(links, fmt.Sprint(code, " ", header.Get("link")))
		return nil
	}}
	request := c.request("GET", "/hints", nil)
	_, body, err := c.do(request.WithContext(httptrace.WithClientTrace(context.Background(), trace)))
	return result{"links": links, "body": string(body)}, err
}

func (c *client) plain() (result, error) {
	said := []string{}
	note := func(response *http.Response, body []byte, err error) error {
		if err == nil {
			length := response.Header.Get("content-length")
			said = append(said, fmt.Sprintf("%s %d %s %s", response.Request.Method, response.StatusCode, length, body))
		}
		return err
	}
	for _, path := range []string{"/hello", "/status?is=204", "/status?is=304", "/status?is=500"} {
		for _, method := range []string{"HEAD", "GET"} {
			response, body, err := c.do(c.request(method, path, nil))
			if err := note(response, body, err); err != nil {
				return nil, err
			}
		}
	}
	for round := 0; round < 3; round++ {
		response, body, err := c.do(c.request("POST", "/refuse", bytes.NewReader(make([]byte, 8<<20))))
		if err := note(response, body, err); err != nil {
			return nil, err
		}
	}
	return result{"said": said}, nil
}

func (c *client) traffic() (result, error) {
	var mu sync.Mutex
	succeeded, lost := 0, []string{}
	c.together(func(number int) error {
		data := random(int64(number), 20000)
		want := fmt.Sprintf("%d %s\n", len(data), sum(data))
		for {
			_, said, err := c.do(c.request("POST", "/hash", bytes.NewReader(data)))
			if errors.Is(err, errDial) {
				return nil // nobody listens any more
			}
			mu.Lock()
			if err == nil && string(said) == want {
				succeeded++
			} else {
				lost = append(lost, fmt.Sprint(err, " ", string(said)))
			}
			mu.Unlock()
			if err != nil {
				return nil
			}
		}
	})
	return result{"succeeded": succeeded, "lost": lost}, nil
}

func (c *client) tunnel() (result, error) {
	return result{}, c.together(func(number int) error {
		reader, writer := io.Pipe()
		to, err := url.Parse(c.base)
		if err != nil {
			return err
		}
		request := &http.Request{
			Method: "CONNECT", URL: to, Host: os.Getenv("TARGET"), Body: reader, ContentLength: -1, Header: http.Header{},
		}
		response, err := c.http.Transport.RoundTrip(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != 200 {
			return errors.New(response.Status)
		}
		data := random(int64(number), 300000)
		go func() {
			writer.Write(data)
			writer.Close()
		}()
		back, err := io.ReadAll(response.Body)
		if err != nil || !bytes.Equal(back, data) {
			return fmt.Errorf("%d bytes came back: %v", len(back), err)
		}
		return nil
	})
}
