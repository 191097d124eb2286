// The smallest service of wasi:http 0.3 in JavaScript.
import types from "wasi:http/types@0.3.0";

const { Fields, Response } = types;
const hello = Uint8Array.from("hello, world\n", (c) => c.charCodeAt(0));

export const handler = {
  async handle() {
    const body = (async function* () {
      yield hello;
    })();
    return Response.new(new Fields(), body, Promise.resolve({ tag: "ok", val: null }))[0];
  },
};
