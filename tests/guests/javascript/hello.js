// The smallest HTTP component in JavaScript.
import { Fields, OutgoingBody, OutgoingResponse, ResponseOutparam } from "wasi:http/types@0.2.10";

const HELLO = new Uint8Array([..."hello, world\n"].map((letter) => letter.charCodeAt(0)));

export const incomingHandler = {
  handle(request, responseOut) {
    const response = new OutgoingResponse(new Fields());
    const body = response.body();
    ResponseOutparam.set(responseOut, { tag: "ok", val: response });
    const stream = body.write();
    stream.blockingWriteAndFlush(HELLO);
    stream[Symbol.dispose]();
    OutgoingBody.finish(body, undefined);
  },
};
