// Keys over HTTP: a store behind a cache.
//
// `cache` and `store` are one interface imported twice. Which backend serves which is the host's business:
// nothing here says memory, SQLite or Redis.
//
//     GET    /<key>   the value; the header `x-cache` says `hit` or `miss`
//     PUT    /<key>   write it (POST does the same)
//     DELETE /<key>   remove it

import * as cache from "labels:kv/cache@0.1.0";
import * as store from "labels:kv/store@0.1.0";
import { Fields, IncomingBody, OutgoingBody, OutgoingResponse, ResponseOutparam } from "wasi:http/types@0.2.2";

const BUCKET = "pages";
const READ_SIZE = 65_536n;
const WRITE_SIZE = 4_096; // the most that `blocking-write-and-flush` takes at once

const encode = (text) => new TextEncoder().encode(text);

export const incomingHandler = {
  handle(request, responseOut) {
    let answer;
    try {
      answer = route(request);
    } catch (error) {
      answer = refusal(error);
    }
    send(responseOut, answer);
  },
};

function route(request) {
  const [path] = (request.pathWithQuery() ?? "/").split("?");
  const key = decodeURIComponent(path.slice(1));
  if (!key) return { status: 404, body: encode("which key? ask for /<key>\n") };
  switch (request.method().tag) {
    case "get":
    case "head":
      return read(key);
    case "put":
    case "post":
      return write(key, readBody(request));
    case "delete":
      return remove(key);
    default:
      return { status: 405, headers: { allow: "GET, HEAD, PUT, POST, DELETE" } };
  }
}

function read(key) {
  return withBucket(cache, (cached) => {
    const hit = cached.get(key);
    if (hit !== undefined) return { status: 200, body: hit, headers: { "x-cache": "hit" } };
    const value = withBucket(store, (stored) => stored.get(key));
    if (value === undefined) return { status: 404, body: encode("no such key\n"), headers: { "x-cache": "miss" } };
    cached.set(key, value);
    return { status: 200, body: value, headers: { "x-cache": "miss" } };
  });
}

function write(key, value) {
  withBucket(store, (stored) => stored.set(key, value));
  withBucket(cache, (cached) => cached.delete(key));
  return { status: 204 };
}

function remove(key) {
  withBucket(store, (stored) => stored.delete(key));
  withBucket(cache, (cached) => cached.delete(key));
  return { status: 204 };
}

// Hand the bucket back when done: the garbage collector may never come to it.
function withBucket(label, use) {
  const bucket = label.open(BUCKET);
  try {
    return use(bucket);
  } finally {
    bucket[Symbol.dispose]();
  }
}

// Both labels have the same three errors.
function refusal(error) {
  switch (error.payload?.tag) {
    case "access-denied":
      return { status: 403, body: encode("the host does not grant this bucket\n") };
    case "no-such-store":
      return { status: 503, body: encode("the host has no such bucket\n") };
    case "other":
      return { status: 502, body: encode(`${error.payload.val}\n`) };
    default:
      return { status: 400, body: encode("the request could not be read\n") };
  }
}

function readBody(request) {
  const chunks = [];
  const body = request.consume();
  const stream = body.stream();
  try {
    for (;;) chunks.push(stream.blockingRead(READ_SIZE));
  } catch (error) {
    if (error.payload?.tag !== "closed") throw error;
  } finally {
    stream[Symbol.dispose]();
  }
  IncomingBody.finish(body)[Symbol.dispose](); // the trailers, which nobody here wants
  return join(chunks);
}

function join(chunks) {
  const whole = new Uint8Array(chunks.reduce((length, chunk) => length + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

function send(responseOut, { status, body = new Uint8Array(0), headers = {} }) {
  const entries = Object.entries(headers);
  if (status !== 204) entries.push(["content-length", `${body.length}`]); // a 204 must not speak of its length
  const response = new OutgoingResponse(Fields.fromList(entries.map(([name, value]) => [name, encode(value)])));
  response.setStatusCode(status);
  const out = response.body();
  ResponseOutparam.set(responseOut, { tag: "ok", val: response });
  const stream = out.write();
  for (let at = 0; at < body.length; at += WRITE_SIZE) {
    stream.blockingWriteAndFlush(body.subarray(at, at + WRITE_SIZE));
  }
  stream[Symbol.dispose]();
  OutgoingBody.finish(out, undefined);
}
