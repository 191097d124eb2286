// Is called with each order, and says when it has billed it. It cannot bill what is "broken": an error has the
// message delivered again, and in the end makes it a dead letter.
import { publish } from "wasmcloud:messaging/consumer@0.2.0";

const text = (bytes) => String.fromCharCode(...bytes);

export const handler = {
  handleMessage(message) {
    const order = text(message.body);
    if (order.startsWith("broken")) throw new Error(`cannot bill ${order}`);
    publish({ subject: "billed", body: message.body, replyTo: undefined });
  },
};
