from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dispatch.inflate import STEP, Inflate
from proxy.dispatch.trouble import Http1Error, Trouble

TEXT = b"data: hello\n\n" * 50


def raw(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


CODED = [
    pytest.param("gzip", gzip.compress(TEXT), id="gzip"),
    pytest.param("x-gzip", gzip.compress(TEXT), id="gzip by its old name"),
    pytest.param("gzip", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:]), id="two gzip members"),
    pytest.param("deflate", zlib.compress(TEXT), id="deflate"),
    pytest.param("deflate", raw(TEXT), id="deflate without its wrapping"),
]


def unfold(coding: str, pieces: list[bytes]) -> bytes:
    inflate = Inflate(coding)
    out = b""
    for piece in pieces:
        inflate.feed(piece)
        while data := inflate.pull():
            out += data
    inflate.finish()
    return out


@pytest.mark.parametrize(("coding", "data"), CODED)
def test_gives_what_was_packed_whole_and_byte_by_byte(coding: str, data: bytes) -> None:
    assert unfold(coding, [data]) == TEXT
    assert unfold(coding, [bytes([byte]) for byte in data]) == TEXT


@given(st.binary(max_size=2000), st.sampled_from(["gzip", "deflate"]))
def test_noise_is_an_http1_error_or_nothing(noise: bytes, coding: str) -> None:
    try:
        unfold(coding, [noise])
    except Http1Error as error:
        assert error.kind in (Trouble.BAD_RESPONSE, Trouble.TRUNCATED)


def test_a_bomb_unfolds_step_by_step() -> None:
    inflate = Inflate("gzip")
    inflate.feed(gzip.compress(bytes(50 * STEP)))
    sizes = [len(inflate.pull()) for _ in range(50)]
    assert sizes == [STEP] * 50
    assert inflate.pull() == b""
    inflate.finish()


def test_an_event_can_be_read_before_the_next_is_packed() -> None:
    packer = zlib.compressobj(wbits=31)
    inflate = Inflate("gzip")
    for event in (b"data: 1\n\n", b"data: 2\n\n"):
        inflate.feed(packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH))
        assert inflate.pull() == event


BROKEN = [
    pytest.param("gzip", b"not gzip at all", Trouble.BAD_RESPONSE, id="not packed at all"),
    pytest.param("gzip", gzip.compress(TEXT)[:-1], Trouble.TRUNCATED, id="cut off"),
    pytest.param("gzip", gzip.compress(TEXT)[:-8] + bytes(8), Trouble.BAD_RESPONSE, id="a wrong checksum"),
    pytest.param("gzip", gzip.compress(TEXT) + b"garbage", Trouble.BAD_RESPONSE, id="garbage behind it"),
    pytest.param("deflate", b"\x78", Trouble.TRUNCATED, id="one byte"),
    pytest.param("gzip", gzip.compress(b"") * 2, Trouble.BAD_RESPONSE, id="empty members"),
    pytest.param("br", b"", Trouble.BAD_RESPONSE, id="a coding that nobody asked for"),
    pytest.param("gzip, gzip", b"", Trouble.BAD_RESPONSE, id="two codings"),
]


@pytest.mark.parametrize(("coding", "data", "kind"), BROKEN)
def test_is_refused(coding: str, data: bytes, kind: Trouble) -> None:
    with pytest.raises(Http1Error) as caught:
        unfold(coding, [data])
    assert caught.value.kind is kind


def test_an_empty_member_may_stand_at_the_end() -> None:
    assert unfold("gzip", [gzip.compress(TEXT) + gzip.compress(b"")]) == TEXT


@pytest.mark.parametrize("coding", ["br", "sk-secret"])
def test_only_known_codings_are_said_back(coding: str) -> None:
    with pytest.raises(Http1Error) as caught:
        Inflate(coding)
    assert (coding in str(caught.value)) is (coding == "br")


def test_an_empty_body_may_claim_any_coding_that_is_known() -> None:
    assert unfold("gzip", []) == b""
