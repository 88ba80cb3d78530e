// A client and a server of HTTP/2 made of node's http2 module, for the tests beside it.
//
//   node peer.mjs ask WHAT URL [CA]    what `asking` below lists; prints what came of it as JSON
//   node peer.mjs serve [CERT KEY]     prints its address
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import http2 from "node:http2";

const sha256 = (data) => createHash("sha256").update(data).digest("hex");

const together = (count, run) => Promise.all(Array.from({ length: count }, (_, number) => run(number)));

async function whole(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

// ---- a client ----

async function exchange(session, head, body) {
  const stream = session.request(head);
  const trailers = {};
  stream.on("trailers", (fields) => Object.assign(trailers, fields));
  const headed = once(stream, "response");
  stream.end(body);
  const [headers] = await headed;
  return { headers, trailers, body: await whole(stream) };
}

// Whether an error says that the server has not seen a request: node knew of the end before it sent it.
const unsent = ({ code, message }) =>
  ["ERR_HTTP2_GOAWAY_SESSION", "ERR_HTTP2_INVALID_SESSION"].includes(code) || message.endsWith("NGHTTP2_REFUSED_STREAM");

const asking = {
  // Uploads and downloads at the same time, with the hashes checked at both ends.
  async many(session) {
    await together(100, async (number) => {
      const data = randomBytes(1000 * number);
      const sent = await exchange(session, { ":method": "POST", ":path": "/hash" }, data);
      assert.equal(sent.body.toString(), `${data.length} ${sha256(data)}\n`);
      const size = 200000 - 1500 * number;
      const got = await exchange(session, { ":path": `/bytes?name=${number}&size=${size}&trailers=1` });
      assert.equal(got.body.length, size);
      assert.equal(got.trailers["x-sha256"], sha256(got.body));
    });
    return {};
  },
  // Conversations on many streams, with trailers both ways.
  async duplex(session) {
    await together(20, async (number) => {
      const stream = session.request({ ":method": "POST", ":path": "/echo" }, { waitForTrailers: true, endStream: false });
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-before": String(number) }));
      const trailers = once(stream, "trailers");
      await once(stream, "response");
      const digest = createHash("sha256");
      for (let turn = 0; turn < 20; turn++) {
        const data = randomBytes(1 + 3000 * turn);
        digest.update(data);
        stream.write(data);
        let back = Buffer.alloc(0);
        while (back.length < data.length) {
          const chunk = stream.read();
          if (chunk === null) await once(stream, "readable");
          else back = Buffer.concat([back, chunk]);
        }
        assert.ok(back.equals(data));
      }
      stream.end();
      stream.resume();
      const [fields] = await trailers;
      assert.equal(fields["x-before"], String(number));
      assert.equal(fields["x-sha256"], digest.digest("hex"));
    });
    return {};
  },
  async push(session) {
    const pushed = [];
    session.on("stream", (stream, headers) => pushed.push(whole(stream).then((body) => [headers[":path"], sha256(body)])));
    const { body } = await exchange(session, { ":path": "/push" });
    return { body: body.toString(), pushed: Object.fromEntries(await Promise.all(pushed)) };
  },
  async hints(session) {
    const stream = session.request({ ":path": "/hints" });
    const links = [];
    stream.on("headers", (fields) => links.push(`${fields[":status"]} ${fields.link}`));
    return { body: (await whole(stream)).toString(), links };
  },
  async expect(session) {
    const body = randomBytes(1000000);
    const stream = session.request({ ":method": "POST", ":path": "/hash", expect: "100-continue" }, { endStream: false });
    await once(stream, "continue");
    stream.end(body);
    assert.equal((await whole(stream)).toString(), `${body.length} ${sha256(body)}\n`);
    return {};
  },
  async cancel(session) {
    await together(50, async (number) => {
      const stream = session.request({ ":path": `/hang?name=${number}&of=50` });
      await once(stream, "data");
      stream.close(http2.constants.NGHTTP2_CANCEL);
      await once(stream, "close");
    });
    return { after: (await exchange(session, { ":path": "/hello" })).body.toString() };
  },
  // The server goes away while conversations are under way and requests follow each other.
  async leaving(session) {
    const leaving = once(session, "goaway");
    const converse = async (number) => {
      const data = randomBytes(10000 * number);
      const stream = session.request({ ":method": "POST", ":path": "/echo" }, { endStream: false });
      const trailers = once(stream, "trailers");
      await once(stream, "response");
      return async () => {
        await leaving;
        stream.end(data);
        assert.ok((await whole(stream)).equals(data));
        const [fields] = await trailers;
        assert.equal(fields["x-sha256"], sha256(data));
      };
    };
    let answered = 0;
    const askOn = async () => {
      for (;;) {
        const data = randomBytes(20000);
        const answer = await exchange(session, { ":method": "POST", ":path": "/hash" }, data).catch((error) => {
          if (unsent(error)) return null;
          throw error;
        });
        if (answer === null) return;
        assert.equal(answer.body.toString(), `${data.length} ${sha256(data)}\n`);
        answered += 1;
      }
    };
    const conversations = await together(24, converse);
    await Promise.all([...conversations.map((goOn) => goOn()), together(16, askOn)]);
    return { answered };
  },
  async plain(session) {
    const said = [];
    for (const path of ["/hello", "/status?is=204", "/status?is=304", "/status?is=500"]) {
      for (const method of ["HEAD", "GET"]) {
        const { headers, body } = await exchange(session, { ":method": method, ":path": path });
        said.push(`${method} ${headers[":status"]} ${headers["content-length"] ?? ""} ${body}`);
      }
    }
    const { headers, body } = await exchange(session, { ":method": "POST", ":path": "/refuse" }, Buffer.alloc(8 << 20));
    said.push(`POST ${headers[":status"]} ${headers["content-length"]} ${body}`);
    return { said };
  },
  // A protocol of its own on a stream, by extended CONNECT.
  async connect(session) {
    await once(session, "remoteSettings");
    assert.equal(session.remoteSettings.enableConnectProtocol, true);
    const stream = session.request({ ":method": "CONNECT", ":protocol": "websocket", ":path": "/chat" }, { endStream: false });
    const [headers] = await once(stream, "response");
    assert.equal(headers[":status"], 200);
    stream.end("to and fro");
    return { back: (await whole(stream)).toString() };
  },
};

async function ask(what, url, ca) {
  const session = http2.connect(url, ca ? { ca: readFileSync(ca) } : {});
  const found = await asking[what](session);
  session.close();
  console.log(JSON.stringify(found));
}

// ---- a server ----

let server;
let cut = 0;

// Ways to go away: the session ends when what is under way is over; the same, and no connection is taken any more; only
// GOAWAY is said, and the connection stays.
const leave = {
  close: (session) => session.close(),
  server: (session) => {
    server.close();
    session.close();
  },
  goaway: (session) => session.goaway(),
};

const pages = {
  "/hello": (stream) => {
    stream.respond({ "content-type": "text/plain" });
    stream.end("hello\n");
  },
  "/hash": async (stream) => {
    const trailers = [];
    stream.on("trailers", (fields) => trailers.push(...Object.entries(fields).map(([name, value]) => ` ${name}=${value}`)));
    const body = await whole(stream);
    stream.respond();
    stream.end(`${body.length} ${sha256(body)}${trailers.join("")}\n`);
  },
  "/bytes": (stream, query) => {
    const data = randomBytes(Number(query.get("size")));
    stream.respond({}, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-sha256": sha256(data) }));
    stream.end(data);
  },
  "/echo": (stream) => {
    const digest = createHash("sha256");
    stream.respond({}, { waitForTrailers: true });
    stream.on("data", (chunk) => digest.update(chunk));
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-sha256": digest.digest("hex") }));
    stream.pipe(stream);
  },
  "/status": (stream, query) => stream.respond({ ":status": Number(query.get("is")) }, { endStream: true }),
  "/hints": (stream) => {
    stream.additionalHeaders({ ":status": 103, link: "</app.css>; rel=preload" });
    stream.additionalHeaders({ ":status": 103, link: "</app.js>; rel=preload" });
    stream.respond();
    stream.end("hinted\n");
  },
  "/push": (stream) => {
    stream.respond();
    stream.end(`${stream.pushAllowed}\n`);
  },
  "/abort": (stream) => {
    stream.respond();
    stream.write("begun\n", () => stream.destroy(new Error("as the page says")));
  },
  "/hang": (stream) => {
    stream.respond();
    stream.write("begun\n");
    stream.on("close", () => (cut += 1));
  },
  "/cut": (stream) => {
    stream.respond();
    stream.end(`${cut}\n`);
  },
  "/goaway": (stream, query) => {
    stream.respond();
    stream.end("the last one\n");
    leave[query.get("how")](stream.session);
  },
  "/chat": (stream, query, headers) => {
    assert.equal(headers[":protocol"], "websocket");
    stream.respond();
    stream.pipe(stream);
  },
};

function serve(cert, key) {
  // Beyond its memory of 10 MB a session refuses streams.
  const options = { settings: { enableConnectProtocol: true }, maxSessionMemory: 100 };
  server = cert
    ? http2.createSecureServer({ cert: readFileSync(cert), key: readFileSync(key), ...options })
    : http2.createServer(options);
  server.on("stream", (stream, headers) => {
    const { pathname, searchParams } = new URL(headers[":path"], "http://any");
    const ofReset = () => {}; // and of those that come behind a GOAWAY
    stream.on("error", ofReset);
    Promise.resolve(pages[pathname](stream, searchParams, headers)).catch(ofReset);
  });
  server.listen(0, "127.0.0.1", () => console.log("listening at", server.address().port));
}

const [what, ...rest] = process.argv.slice(2);
if (what === "ask") await ask(...rest);
else serve(...rest);
