"""The smallest service of wasi:http 0.3 in Python."""

import componentize_py_async_support
import wit_world
from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports.wasi_http_types import Fields, Request, Response

trailers_future = wit_world.result_option_wasi_http_types_fields_wasi_http_types_error_code_future


async def write(sink, data):
    with sink:
        await sink.write_all(data)


class Handler(exports.Handler):
    async def handle(self, request: Request) -> Response:
        sink, source = wit_world.byte_stream()
        componentize_py_async_support.spawn(write(sink, b"hello, world\n"))
        return Response.new(Fields(), source, trailers_future(lambda: Ok(None))[1])[0]
