"""More than two hundred requests that are wrong, and what is said of each."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

from tests.e2e.malformed_bodies import bodies
from tests.e2e.wire import HELLO, Case, request

CHAT = b"POST /v1/chat/completions HTTP/1.1\r\n"
HOST = b"Host: localhost\r\n"
JSON = b"Content-Type: application/json\r\n"
SMUGGLED = request(HELLO | {"model": "smuggled"})
"""It must never be executed: the stub counts."""


# --- heads ---------------------------------------------------------------------------------------


def _headed(*lines: bytes, body: bytes = b"", first: bytes = CHAT) -> bytes:
    return first + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


_H, _J = HOST[:-2], JSON[:-2]

FIRST_LINES = {
    "no version": b"GET /v1/models",
    "HTTP/0.9 by name": b"GET /v1/models HTTP/0.9",
    "HTTP/1.2": b"GET /v1/models HTTP/1.2",
    "HTTP/3.0": b"GET /v1/models HTTP/3.0",
    "a version of two digits": b"GET /v1/models HTTP/11.1",
    "half a version": b"GET /v1/models HTTP/1",
    "a version with a tail": b"GET /v1/models HTTP/1.1x",
    "a version in lower case": b"GET /v1/models http/1.1",
    "another protocol": b"GET /v1/models FTP/1.1",
    "Icecast": b"GET /v1/models ICE/1.0",
    "an unknown method": b"FOO /v1/models HTTP/1.1",
    "a method in lower case": b"get /v1/models HTTP/1.1",
    "a method with a NUL": b"G\0T /v1/models HTTP/1.1",
    "a method of another protocol": b"DESCRIBE /v1/models HTTP/1.1",
    "the preface of HTTP/2": b"PRI * HTTP/2.0",
    "no method": b" /v1/models HTTP/1.1",
    "a tab after the method": b"GET\t/v1/models HTTP/1.1",
    "two targets": b"GET /v1/models /v1/models HTTP/1.1",
    "no target": b"GET  HTTP/1.1",
    "a target that is a word": b"GET models HTTP/1.1",
    "a target that is a query": b"GET ?a=b HTTP/1.1",
    "a space in the target": b"GET /v1/mo dels HTTP/1.1",
    "a tab in the target": b"GET /v1/mo\tdels HTTP/1.1",
    "a NUL in the target": b"GET /v1/mo\0dels HTTP/1.1",
    "a DEL in the target": b"GET /v1/mo\x7fdels HTTP/1.1",
    "a bare CR in the target": b"GET /v1/mo\rdels HTTP/1.1",
    "UTF-8 in the target": "GET /v1/módels HTTP/1.1".encode(),
    "a URL without a path": b"GET http://localhost HTTP/1.1",
    "a URL with a port that is none": b"GET http://localhost:99999/ HTTP/1.1",
    "a URL of a file without a host": b"GET file:///etc/passwd HTTP/1.1",
    "a tunnel": b"CONNECT localhost:443 HTTP/1.1",
    "a tunnel to a path": b"CONNECT / HTTP/1.1",
}

LINES = {
    "a NUL in a value": b"X-Request-Id: a\0b",
    "a bare CR in a value": b"X-Request-Id: a\rb",
    "a bare CR and a header in a value": b"X-Request-Id: a\rSet-Cookie: b=c",
    "a bare LF in a value": b"X-Request-Id: a\nSet-Cookie: b=c",
    "a control character in a value": b"X-Request-Id: a\x01b",
    "an escape in a value": b"Origin: http://a\x1b[31m",
    "a DEL in a value": b"Origin: http://a\x7f",
    "a vertical tab in a value": b"X-Session-Id: a\x0bb",
    "a folded line": b"X-Session-Id: a\r\n b",
    "a line folded by a tab": b"X-Session-Id: a\r\n\tb",
    "a space before the colon": b"X-Session-Id : a",
    "a tab before the colon": b"X-Session-Id\t: a",
    "a space in a name": b"X Session: a",
    "a NUL in a name": b"X\0Session: a",
    "brackets in a name": b"X(Session): a",
    "UTF-8 in a name": "Xé: a".encode(),
    "no name": b": a",
    "no colon": b"X-Session-Id",
    "a line of nothing but a colon": b":",
}

LENGTHS = {
    "a length with a sign": b"+5",
    "a length below zero": b"-5",
    "a length in hexadecimal": b"0x5",
    "a length with a decimal point": b"5.0",
    "a length with an exponent": b"5e0",
    "a length that is a word": b"five",
    "a length that is empty": b"",
    "a list of one length": b"5,",
    "a list of equal lengths": b"5, 5",
    "a list of lengths": b"5, 6",
    "two lengths apart": b"5 5",
    "a length above 2^64": b"18446744073709551621",
    "a length of a hundred digits": b"9" * 100,
    "a length in quotes": b'"5"',
    "a length with an underscore": b"5_0",
    "a length in full-width digits": "５".encode(),
}

CODINGS = {
    "an unknown coding": (b"xchunked", 501),
    "gzip as a coding": (b"gzip", 501),
    "identity as a coding": (b"identity", 501),
    "gzip before chunked": (b"gzip, chunked", 501),
    "chunked twice": (b"chunked, chunked", 400),
    "chunked before identity": (b"chunked, identity", 400),
    "chunked with a parameter": (b"chunked;q=1", 501),
    "chunked in quotes": (b'"chunked"', 501),
    "chunked behind a vertical tab": (b"\x0bchunked", 400),
    "an empty coding": (b"", 400),
    "a comma before chunked": (b",chunked", 501),
}

CHUNKS = {
    "a chunk size that is a word": b"zz\r\nhello\r\n0\r\n\r\n",
    "a chunk size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a chunk size below zero": b"-5\r\nhello\r\n0\r\n\r\n",
    "a chunk size with a plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "a space before the chunk size": b" 5\r\nhello\r\n0\r\n\r\n",
    "a space after the chunk size": b"5 \r\nhello\r\n0\r\n\r\n",
    "no chunk size": b"\r\nhello\r\n0\r\n\r\n",
    "a chunk size above 2^64": b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "a bare LF after the chunk size": b"5\nhello\r\n0\r\n\r\n",
    "a bare CR after the chunk size": b"5\rXhello\r\n0\r\n\r\n",
    "a chunk longer than its size": b"5\r\nhelloXX\r\n0\r\n\r\n",
    "a chunk that ends with a bare LF": b"5\r\nhello\n0\r\n\r\n",
    "a NUL in an extension": b"5;\0\r\nhello\r\n0\r\n\r\n",
    "a bare LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "a CRLF in a quoted extension": b'5;a="\r\n"\r\nhello\r\n0\r\n\r\n',
    "a bare LF after the last chunk": b"0\r\n\nGET / HTTP/1.1\r\n",
    "a second coding as a trailer": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a length as a trailer": b"0\r\nContent-Length: 3\r\n\r\n",
    "a folded trailer": b"0\r\nX: a\r\n b\r\n\r\n",
}

HOSTS = {
    "no host": (),
    "two equal hosts": (_H, _H),
    "two hosts": (_H, b"Host: elsewhere"),
    "a host with a space": (b"Host: a b",),
    "a host with a path": (b"Host: localhost/admin",),
    "a host with a user": (b"Host: user@localhost",),
    "a host with a port that is a word": (b"Host: localhost:http",),
    "a list of hosts": (b"Host: a, b",),
    "a host with a fragment": (b"Host: a#b",),
    "a host with a backslash": (b"Host: a\\b",),
    "a host in UTF-8": ("Host: é".encode(),),
    "a host with an open bracket": (b"Host: [::1",),
}


def _heads() -> Iterator[Case]:
    for name, first in FIRST_LINES.items():
        status = 505 if name in ("no version", "HTTP/0.9 by name") else 400
        yield Case(name, _headed(_H, first=first + b"\r\n"), status)
    for name, line in LINES.items():
        yield Case(name, _headed(_H, _J, line, b"Content-Length: 0"))
    for name, hosts in HOSTS.items():
        yield Case(name, _headed(*hosts, _J, b"Content-Length: 0"), 400, "host")
    for name, length in LENGTHS.items():
        yield Case(name, _headed(_H, _J, b"Content-Length: " + length, body=b"hello" + SMUGGLED))
    for name, (coding, status) in CODINGS.items():
        param = "transfer-encoding" if status == 501 else None
        lines = (_H, _J, b"Transfer-Encoding: " + coding)
        yield Case(name, _headed(*lines, body=b"0\r\n\r\n" + SMUGGLED), status, param)
    for name, chunks in CHUNKS.items():
        lines = (_H, _J, b"Transfer-Encoding: chunked")
        yield Case(name, _headed(*lines, body=chunks + SMUGGLED))
    yield Case("HTTP/2.0 by name", _headed(_H, first=b"GET /v1/models HTTP/2.0\r\n"), 505)
    yield Case(
        "HTTP/2.0 that would be kept",
        _headed(_H, b"Connection: keep-alive", first=b"GET /v1/models HTTP/2.0\r\n"),
        505,
    )
    yield Case("a TLS handshake", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64))
    yield Case("an SSH banner", b"SSH-2.0-OpenSSH_9.6\r\n")
    yield Case("binary rubbish", bytes(range(256)))
    yield Case("a line of nothing but spaces", b"   \r\n\r\n")
    yield Case("bare LF throughout", b"GET /v1/models HTTP/1.1\nHost: localhost\n\n")
    yield Case("a space before the first header", CHAT + b" " + HOST + b"\r\n")
    yield Case("a blank line of a bare CR", b"GET / HTTP/1.1\r\nHost: localhost\r\n\rGET /x HTTP/1.1\r\n\r\n")


def _smuggling() -> Iterator[Case]:
    length, coding = b"Content-Length: %d" % (len(SMUGGLED) + 5), b"Transfer-Encoding: chunked"
    body = b"0\r\n\r\n" + SMUGGLED
    yield Case("a length, then a coding", _headed(_H, _J, length, coding, body=body))
    yield Case("a coding, then a length", _headed(_H, _J, coding, length, body=body))
    yield Case("a coding and a length of 0", _headed(_H, _J, coding, b"Content-Length: 0", body=body))
    yield Case("two equal lengths", _headed(_H, _J, b"Content-Length: 5", b"Content-Length: 5", body=body))
    yield Case("two lengths", _headed(_H, _J, b"Content-Length: 5", length, body=body))
    yield Case("two codings", _headed(_H, _J, coding, coding, body=body))
    yield Case("chunked, then identity", _headed(_H, _J, coding, b"Transfer-Encoding: identity", body=body))
    both = _headed(_H, _J, b"Transfer-Encoding: identity", coding, body=body)
    yield Case("identity, then chunked", both, 501, "transfer-encoding")
    yield Case(
        "a coding with a space before its colon", _headed(_H, _J, b"Transfer-Encoding : chunked", body=body)
    )
    yield Case("a folded coding", _headed(_H, _J, b"Transfer-Encoding:\r\n chunked", body=body))
    yield Case("a coding behind a bare LF", _headed(_H, _J, b"X: a\nTransfer-Encoding: chunked", body=body))
    yield Case(
        "a coding in HTTP/1.0",
        _headed(_H, _J, coding, body=body, first=b"POST /v1/chat/completions HTTP/1.0\r\n"),
        400,
        "transfer-encoding",
    )
    yield Case("a length and a coding, to another path", _headed(_H, length, coding, body=body,
               first=b"GET /v1/models HTTP/1.1\r\n"))  # fmt: skip


# --- heads that are too much, methods, paths, types ----------------------------------------------


def _sizes() -> Iterator[Case]:
    yield Case("2 MB in one header", _headed(_H, b"X: " + b"a" * 2_000_000), 431)
    yield Case("2 MB of headers", _headed(_H, *(b"X-%d: %b" % (i, b"a" * 20_000) for i in range(100))), 431)
    yield Case("20,000 headers", _headed(_H, *(b"X-%d: a" % i for i in range(20_000))), 431)
    yield Case("201 headers", _headed(_H, *(b"X-%d: a" % i for i in range(200))), 431)
    yield Case("2 MB in a header's name", _headed(_H, b"a" * 2_000_000 + b": a"), 431)
    yield Case("2 MB of target", _headed(_H, first=b"GET /" + b"a" * 2_000_000 + b" HTTP/1.1\r\n"), 414)
    yield Case(
        "2 MB of query", _headed(_H, first=b"GET /v1/models?" + b"a" * 2_000_000 + b" HTTP/1.1\r\n"), 414
    )
    chunked = (_H, _J, b"Transfer-Encoding: chunked")
    yield Case("2 MB of chunk extension", _headed(*chunked, body=b"5;" + b"a" * 2_000_000))
    yield Case(
        "2 MB of trailers", _headed(*chunked, body=b"1\r\n{\r\n0\r\n" + b"X: aaaaaaaaaaaaaa\r\n" * 100_000)
    )
    yield Case("2 MB in one trailer", _headed(*chunked, body=b"1\r\n{\r\n0\r\nX: " + b"a" * 2_000_000))
    yield Case("a length above the limit", _headed(_H, _J, b"Content-Length: 99999999999", body=b"{"), 413)


PATHS = (
    b"/v1",
    b"/v1/",
    b"/v1/chat",
    b"/v1/embeddings",
    b"/v1/chat/completion",
    b"/v1/chat/completions/0",
    b"/v2/chat/completions",
    b"/V1/chat/completions",
    b"/v1/chat/completions%00",
    b"/v1/chat/completions%0d%0aX-Evil:%20y",
    b"/%0d%0aSet-Cookie:%20a=b",
    b"/..%2f..%2fetc/passwd",
    b"/v1/%ff",
    b"/%zz",
    b'/"<s>',
    b"/\\..\\x",
)
MEDIA = (
    "text/plain",
    "text/json-seq",
    "application/x-www-form-urlencoded",
    "application/octet-stream",
    "application/xml",
    "application/jsonp",
    "multipart/form-data; boundary=a",
    "json",
    "*/*",
)


def _routes() -> Iterator[Case]:
    for method in (
        b"GET",
        b"PUT",
        b"PATCH",
        b"DELETE",
        b"TRACE",
        b"PURGE",
        b"PROPFIND",
        b"M-SEARCH",
        b"QUERY",
    ):
        yield Case(
            f"{method.decode()} at the chat route",
            request(HELLO, first=method + b" /v1/chat/completions HTTP/1.1"),
            405,
            code="method_not_allowed",
        )
    for path in PATHS:
        yield Case(
            f"the path {path.decode()}",
            request(HELLO, first=b"POST " + path + b" HTTP/1.1"),
            404,
            code="unknown_url",
        )
    for path in (b"/", b"/v1/models", b"/healthz", b"/readyz", b"/metrics", b"/admin/v1/models"):
        yield Case(
            f"POST at {path.decode()}", request(b"", first=b"POST " + path + b" HTTP/1.1"), 405,
            code="method_not_allowed",
        )  # fmt: skip
    yield Case("the admin API without its key", request(b"", first=b"GET /admin/v1/models HTTP/1.1"), 401,
               param_told=False)  # fmt: skip
    yield Case(
        "a model that is not there",
        request(b"", first=b"GET /v1/models/nobody HTTP/1.1"),
        404,
        param_told=False,
    )


def _types() -> Iterator[Case]:
    for kind in MEDIA:
        yield Case(f"the type {kind}", request(HELLO, headers={"Content-Type": kind}), 415)
    bomb = gzip.compress(bytes(32_000_000))
    for coding in ("gzip", "br", "deflate", "zstd", "x-gzip", "gzip, gzip", "compress", "GZIP"):
        yield Case(f"a bomb of {coding}", request(bomb, headers={"Content-Encoding": coding}), 415)
    for name, value in {"a word": "soon", "zero": "0", "below zero": "-1", "NaN": "nan", "infinite": "inf",
                        "empty": "", "an exponent": "1e3", "a list": "1, 2"}.items():  # fmt: skip
        yield Case(
            f"a deadline that is {name}",
            request(HELLO, headers={"x-request-timeout": value}),
            400,
            "x-request-timeout",
        )


MALFORMED = [*_heads(), *_smuggling(), *_sizes(), *_routes(), *_types(), *bodies()]
