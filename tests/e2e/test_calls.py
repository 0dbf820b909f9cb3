"""The call log of a running proxy: asked by the admin API and by `kuro calls`; killed, shared, full."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.e2e.kuro import ADMIN, PATIENCE, ROOT, Kuro, model, write_config
from tests.e2e.raw import ask
from tests.e2e.scraped import scrape, total
from tests.stub import StubUpstream, fail, ok

SECRET = "Write to jane@mail.example about the zebra"


def hello(name: str = "one", text: str = "Hello there") -> dict[str, Any]:
    return {"model": name, "messages": [{"role": "user", "content": text}]}


def configured(stub: StubUpstream, place: Path, **calls: Any) -> Path:
    stub.script("one", ok("Here."))
    stub.script("down", fail(401))
    settings = {"file": str(place / "calls.db"), **calls}
    return write_config(
        place,
        stub.url,
        [model("one"), model("down")],
        proxy={"admin_key": ADMIN, "telemetry": {"calls": settings, "baseline": "one"}},
    )


@pytest.fixture
def kept(stub: StubUpstream, tmp_path: Path) -> Iterator[Kuro]:
    with Kuro(configured(stub, tmp_path)) as proxy:
        yield proxy


def kuro_calls(place: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "proxy", "calls", "--config", str(place), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_call_is_found_at_once_by_the_admin_api_and_by_the_command(kept: Kuro, tmp_path: Path) -> None:
    assert kept.admin("/calls") == {"object": "list", "data": [], "next": None, "source": "database"}
    assert kept.chat(hello(), x_request_id="good-1", x_session_id="s1")[0] == 200
    assert kept.chat(hello("down"), x_request_id="bad-1")[0] == 502
    listed = kept.admin("/calls")
    assert [(row["request_id"], row["outcome"]) for row in listed["data"]] == [
        ("bad-1", "error"),
        ("good-1", "ok"),
    ]
    assert listed["source"] == "database"
    whole = kept.admin("/calls/good-1")
    for session in (whole["session"], "s1"):
        found = kept.admin(f"/calls?{urlencode({'session': session})}")["data"]
        assert [row["request_id"] for row in found] == ["good-1"]
        table = kuro_calls(tmp_path, "--session", session)
        assert "good-1" in table and "1 of 1 calls" in table
    assert whole["attempts"][0]["model"] == "one" and "prompt" not in whole
    (spent, nobody) = sorted(kept.admin("/spend")["data"], key=lambda row: row["model"] is None)
    assert (spent["model"], spent["calls"], spent["failed"], nobody["failed"]) == ("one", 1, 0, 1)
    assert spent["cost_usd"] == spent["baseline_usd"] > 0
    table = kuro_calls(tmp_path, "--failed")
    assert "bad-1" in table and "good-1" not in table
    (record,) = kuro_calls(tmp_path, "--json", "--id", "good-1").splitlines()
    assert json.loads(record)["usage"] == whole["usage"]


def test_calls_are_followed_as_they_come(kept: Kuro, tmp_path: Path) -> None:
    kept.chat(hello(), x_request_id="before")
    kept.admin("/calls")  # so that it is written
    command = [sys.executable, "-m", "proxy", "calls", "--config", str(tmp_path), "--follow"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout
        try:
            said = [following.stdout.readline() for _ in range(2)]
            kept.chat(hello(), x_request_id="then")
            kept.chat(hello("down"), x_request_id="at-last")
            said += [following.stdout.readline() for _ in range(2)]
        finally:
            following.send_signal(signal.SIGINT)
        assert following.wait(PATIENCE) == 130
    assert [line.split()[2] for line in said[1:]] == ["before", "then", "at-last"]


def test_a_prompt_is_kept_only_when_wanted_and_only_there(stub: StubUpstream, tmp_path: Path) -> None:
    with Kuro(configured(stub, tmp_path, prompts=True)) as proxy:
        proxy.chat(hello("auto", SECRET), x_request_id="asked")
        proxy.chat(hello("auto", SECRET), x_request_id="again")  # of this one the decision is remembered
        proxy.chat(hello("one", SECRET), x_request_id="named")
        for name in ("asked", "again", "named"):
            assert proxy.admin(f"/calls/{name}")["prompt"] == "Write to [redacted] about the zebra"
        assert "zebra" not in proxy.log()
        assert b"jane@mail" not in (tmp_path / "calls.db").read_bytes()


def test_killed_it_has_lost_at_most_what_was_not_written_yet(stub: StubUpstream, tmp_path: Path) -> None:
    config = configured(stub, tmp_path)
    with Kuro(config) as proxy:
        for n in range(20):
            proxy.chat(hello(), x_request_id=f"early-{n}")
        assert len(proxy.admin("/calls?limit=100")["data"]) == 20  # written now
        for n in range(20):
            proxy.chat(hello(), x_request_id=f"late-{n}")
        proxy.process.send_signal(signal.SIGKILL)
        proxy.process.wait(PATIENCE)
    assert "early-19" in kuro_calls(tmp_path, "--limit", "100")  # what is in its write-ahead log, too
    with closing(sqlite3.connect(tmp_path / "calls.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        names = {name for (name,) in database.execute("SELECT request_id FROM calls")}
    assert {f"early-{n}" for n in range(20)} <= names
    with Kuro(config) as proxy:
        proxy.chat(hello(), x_request_id="after")
        assert proxy.admin("/calls")["data"][0]["request_id"] == "after"


async def test_several_workers_write_into_one_and_each_sees_all(stub: StubUpstream, tmp_path: Path) -> None:
    with Kuro(configured(stub, tmp_path), "--workers", "2") as proxy:
        for _ in range(5):
            answers = await asyncio.gather(*(ask(proxy.port, hello()) for _ in range(40)))
            assert {answer.status for answer in answers} == {200}
        async with asyncio.timeout(PATIENCE):
            while len((await asyncio.to_thread(proxy.admin, "/calls?limit=1000"))["data"]) < 200:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert total(await scrape(proxy.port), "llm_call_log_lost_total") == 0


async def test_a_full_disk_touches_no_call_and_what_is_lost_is_counted(
    stub: StubUpstream, tmp_path: Path
) -> None:
    with Kuro(configured(stub, tmp_path)) as proxy:
        await ask(proxy.port, hello())
        assert len(proxy.admin("/calls")["data"]) == 1
        size = (tmp_path / "calls.db-wal").stat().st_size
        # Beyond it a file doesn't grow: EFBIG, as Python ignores SIGXFSZ.
        resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE, (size + 4096, resource.RLIM_INFINITY))
        for _ in range(5):
            answers = await asyncio.gather(*(ask(proxy.port, hello()) for _ in range(50)))
            assert {answer.status for answer in answers} == {200}
            await asyncio.to_thread(proxy.admin, "/calls")  # whatever waits is written, or lost
        await ask(proxy.port, hello(), x_request_id="no-room")
        told = await asyncio.to_thread(proxy.admin, "/calls?limit=10")
        assert (told["source"], told["data"][0]["request_id"]) == ("both", "no-room")
        assert (await asyncio.to_thread(proxy.admin, "/calls/no-room"))["outcome"] == "ok"
        lost = total(await scrape(proxy.port), "llm_call_log_lost_total")
        assert lost > 0
        resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        await ask(proxy.port, hello(), x_request_id="room-again")
        found = await asyncio.to_thread(proxy.admin, "/calls?limit=1000")
        assert found["data"][0]["request_id"] == "room-again"
        kept = [row for row in found["data"] if row["cursor"] is not None]
        assert (len(kept), len(found["data"]) - len(kept)) == (253 - lost, min(lost, 100))
    assert "calls could not be kept" in proxy.log()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


async def test_on_a_disk_without_room_calls_go_on_and_are_kept_when_there_is_some(
    stub: StubUpstream, tmp_path: Path, small_disk: Path
) -> None:
    with Kuro(configured(stub, tmp_path, file=str(small_disk / "calls.db"))) as proxy:
        await ask(proxy.port, hello(), x_request_id="first")
        assert len((await asyncio.to_thread(proxy.admin, "/calls"))["data"]) == 1
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(b"x" * 4096)
        for _ in range(4):
            answers = await asyncio.gather(*(ask(proxy.port, hello()) for _ in range(25)))
            assert {answer.status for answer in answers} == {200}
            await asyncio.to_thread(proxy.admin, "/calls")  # whatever waits is written, or lost
        await ask(proxy.port, hello(), x_request_id="no-room")
        told = await asyncio.to_thread(proxy.admin, "/calls?limit=10")
        assert (told["source"], told["data"][0]["request_id"]) == ("both", "no-room")
        assert (await asyncio.to_thread(proxy.admin, "/calls/no-room"))["outcome"] == "ok"
        lost = total(await scrape(proxy.port), "llm_call_log_lost_total")
        assert lost > 0
        filler.unlink()
        await ask(proxy.port, hello(), x_request_id="room-again")
        found = await asyncio.to_thread(proxy.admin, "/calls?limit=1000")
        assert found["data"][0]["request_id"] == "room-again"
        assert sum(row["cursor"] is not None for row in found["data"]) == 103 - lost
    with closing(sqlite3.connect(small_disk / "calls.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert "disk is full" in proxy.log() or "disk I/O error" in proxy.log()


async def test_where_nothing_may_be_written_calls_go_on_in_memory(
    stub: StubUpstream, tmp_path: Path, small_disk: Path
) -> None:
    _remount(small_disk, "ro")
    with Kuro(configured(stub, tmp_path, file=str(small_disk / "calls.db"))) as proxy:
        assert (await ask(proxy.port, hello(), x_request_id="first")).status == 200
        found = await asyncio.to_thread(proxy.admin, "/calls")
        assert (found["source"], found["data"][0]["request_id"]) == ("memory", "first")
        assert total(await scrape(proxy.port), "llm_call_log_lost_total") == 1
        _remount(small_disk, "rw")
        await ask(proxy.port, hello(), x_request_id="second")
        found = await asyncio.to_thread(proxy.admin, "/calls")
    assert (found["source"], [row["request_id"] for row in found["data"]]) == ("both", ["second", "first"])


def _remount(place: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,bind,{mode}", str(place)], capture_output=True, check=True)


def test_a_file_of_somebody_else_is_left_alone_and_calls_are_in_memory(
    stub: StubUpstream, tmp_path: Path
) -> None:
    (tmp_path / "diary").write_text("Dear diary, " * 500)
    with Kuro(configured(stub, tmp_path, file=str(tmp_path / "diary"))) as proxy:
        assert proxy.chat(hello(), x_request_id="kept-in-memory")[0] == 200
        found = proxy.admin("/calls")
        assert (found["source"], found["data"][0]["request_id"]) == ("memory", "kept-in-memory")
        assert proxy.admin("/calls/kept-in-memory")["selected_model"] == "one"
    assert (tmp_path / "diary").read_text() == "Dear diary, " * 500
    assert "no SQLite database" in proxy.log()


def test_switched_off_nothing_is_written(stub: StubUpstream, tmp_path: Path) -> None:
    with Kuro(configured(stub, tmp_path, enabled=False)) as proxy:
        proxy.chat(hello(), x_request_id="a")
        assert proxy.admin("/calls")["source"] == "memory"
    assert not (tmp_path / "calls.db").exists()


def test_calls_that_were_made_while_circuits_moved_are_decided_again_alike(
    stub: StubUpstream, tmp_path: Path
) -> None:
    config = configured(stub, tmp_path)
    with Kuro(config) as proxy:
        for n in range(6):
            proxy.chat(
                hello("auto", f"Write a poem, number {n % 4}"), x_request_id=f"p-{n}", x_session_id="s"
            )
        proxy.admin("/models/one/circuit", {"action": "open"})
        for n in range(3):
            proxy.chat(
                hello("auto", f"Explain how the quicksort of {n} items works"),
                x_request_id=f"q-{n}",
                x_kuro_trace="1",
            )
        proxy.admin("/models/one/circuit", {"action": "reset"})
        proxy.chat(hello("one"), x_request_id="named")
        told = proxy.admin("/calls/q-0")["decision"]
    assert told["same_configuration"] and told["filtered"] == {"one": "circuit open or throttled"}
    assert told["features"]["language"] == "en", "though its words were not kept"
    command = [sys.executable, "-m", "proxy", "replay", "--config", str(config), "--strict"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith("10 records, 10 decided again, 0 otherwise"), done
