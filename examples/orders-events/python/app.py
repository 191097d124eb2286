"""Takes orders over HTTP, and publishes each: POST /SUBJECT with the order as the body."""

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import consumer
from wit_world.imports.wasi_http_types import (
    Fields,
    IncomingRequest,
    OutgoingBody,
    OutgoingResponse,
    ResponseOutparam,
)
from wit_world.imports.wasmcloud_messaging_types import BrokerMessage


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        subject = (request.path_with_query() or "/").strip("/").replace("/", ".")
        try:
            consumer.publish(BrokerMessage(subject, read(request), None))
        except Err as error:
            answer(response_out, 503, f"{error.value}\n")
        else:
            answer(response_out, 202, "taken\n")


def read(request: IncomingRequest) -> bytes:
    body, chunks = request.consume(), []
    with body, body.stream() as stream:
        try:
            while True:
                chunks.append(stream.blocking_read(65536))
        except Err:
            return b"".join(chunks)


def answer(response_out: ResponseOutparam, status: int, text: str) -> None:
    response = OutgoingResponse(Fields())
    response.set_status_code(status)
    body = response.body()
    ResponseOutparam.set(response_out, Ok(response))
    with body.write() as stream:
        stream.blocking_write_and_flush(text.encode())
    OutgoingBody.finish(body, None)
