// Calls between Go and muxpy.rpc, both ways over one session of Go's muxado. docs/rpc-protocol.md has the wire.
package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/inconshreveable/muxado"
)

const shared, alone = 0x52504301, 0x52504302 // types of streams
const call, cancel, item, result, failure, end, inJSON = 1, 2, 3, 4, 5, 8, 0x80

var methods = map[string]func(words ...string) any{ // what this side serves
	"Words.count": func(words ...string) any { return len(words) },
}
var waiting sync.Map              // the calls of this side, by id: where their answers go
var places = make(chan bool, 128) // for calls without an answer: as many as there may be before any CREDIT

func send(s muxado.Stream, kind byte, id uint32, value any) {
	body, raw := value.([]byte) // which stays as it is
	if !raw {
		body, _ = json.Marshal(value)
	}
	head := append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), kind)
	s.Write(append(binary.BigEndian.AppendUint32(head, id), body...)) // in one piece: others send here, too
}

func read(s muxado.Stream) { // whatever the stream is for: the kinds of its messages say that
	running, head := new(sync.WaitGroup), make([]byte, 9)
	for _, err := io.ReadFull(s, head); err == nil && head[0] == 0; _, err = io.ReadFull(s, head) { // up to 16 MiB
		kind, id, body := head[4], binary.BigEndian.Uint32(head[5:]), make([]byte, binary.BigEndian.Uint32(head))
		io.ReadFull(s, body)
		if kind == call || kind == call|inJSON {
			running.Add(1)
			go func() { answer(s, kind, id, body); running.Done() }()
		} else if kind == result || kind == failure { // on the shared stream, or a large one on its own
			if came, ok := waiting.LoadAndDelete(id); ok {
				<-places
				came.(chan string) <- string(body)
			}
		}
	}
	running.Wait()
	s.Close()
}

func answer(s muxado.Stream, kind byte, id uint32, request []byte) {
	name, words := "", []string{}
	if kind == call {
		send(s, failure, id, []byte("\x93\x0c\xadUnimplemented\xb1calls are in JSON"))
	} else if err := json.Unmarshal(request, &[]any{&name, &words}); err != nil {
		send(s, failure, id, []any{3, "InvalidArgument", err.Error()})
	} else if method, ok := methods[name]; ok {
		send(s, result, id, method(words...))
	} else {
		send(s, failure, id, []any{12, "Unimplemented", "there is no method " + name})
	}
}

func start(s muxado.Stream, id uint32, method string, arguments ...any) (came chan string) {
	came = make(chan string, 1)
	places <- true
	waiting.Store(id, came)
	send(s, call|inJSON, id, []any{method, append([]any{}, arguments...)})
	return came
}

func main() { // rpc ADDRESS: connects, or listens there if nobody does
	session, err := muxado.Dial("tcp", os.Args[1])
	if err != nil {
		listener, _ := muxado.Listen("tcp", os.Args[1])
		session, _ = listener.Accept()
	}
	go demonstrate(session)
	for s, err := session.Accept(); err == nil; s, err = session.Accept() {
		go read(s)
	}
}

func demonstrate(session muxado.Session) {
	calls, _ := session.OpenStream(0, shared, false)
	many, _ := session.OpenStream(0, alone, false)
	go read(calls)
	go read(many)
	sum, quotient := start(calls, 1, "Calculator.add", 1, 2), start(calls, 2, "Calculator.div", 1, 0)
	forever, total := start(calls, 3, "Calculator.wait"), start(many, 0, "Calculator.total")
	send(calls, cancel, 3, []byte{})
	for number := 1; number <= 1000; number++ {
		send(many, item, 0, number)
	}
	send(many, end, 0, []byte{})
	many.HalfClose(nil)
	fmt.Println(<-sum, <-quotient, <-forever, <-total)
}
