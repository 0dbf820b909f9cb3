"""How much work a call is, counted: instructions and functions are the same on a busy machine.

    python -m tests.bench.count [kuro silent floor ...]   instructions and functions per call, a line each
    python -m tests.bench.count --list kuro               its functions, by the time that each itself takes

Proxy, stub upstream and load run in one process, one event loop for all; what the two ends come to alone
(`direct`) is taken off. Instructions are callgrind's (Debian: valgrind), so that the kernel's aren't among
them; functions are those called on the event loop's thread. Time passes by being asked for, so that what is
done by the clock is done for as many calls each time, however slow valgrind is. `apart` is `silent` as
one worker among several, and `shared` has another beside it, in the same process, without calls of its own:
it hears of all conversations, as each of two would of the other's, and of each by itself, for timers go by
the system's clock.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
import uvloop

from tests.bench import contenders, load
from tests.bench.upstream import Upstream

NAMES = ("kuro", "silent", "floor")
WORKERS = ("apart", "shared")
DIRECT = "direct"
WARM, CALLS, CONNECTIONS = 200, 1000, 8
"""Calls before anything is counted, calls that are, and how many of them are under way at once."""
_STEP = 5e-5
"""Seconds between two looks at the clock: a call looks twenty times, which makes 1,000 calls a second."""
_VALGRIND = ("valgrind", "--tool=callgrind", "--instr-atstart=no")


def main() -> None:
    """Prints what was asked for. Each contender has a process of its own."""
    options = _options()
    plan = load.Plan(0, CONNECTIONS, CALLS, model=options.model, events=options.events, burst=options.burst)
    if options.inside:
        time.monotonic = count(time.monotonic(), _STEP).__next__
        uvloop.run(_inside(options.inside, plan, options.list))
    elif options.list:
        print(_run(options, options.list))
    else:
        ends = _instructions(options, DIRECT), int(_run(options, DIRECT))
        for name in options.names or NAMES:
            instructions, functions = _instructions(options, name), int(_run(options, name))
            each = (instructions - ends[0]) / CALLS, (functions - ends[1]) / CALLS
            print(f"{name:8} {each[0]:12,.0f} instructions {each[1]:8.1f} functions", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.count", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join((*NAMES, *WORKERS))}")
    parser.add_argument("--list", help="the functions of this one", metavar="NAME")
    parser.add_argument("--model", default="auto", help="what is asked for")
    parser.add_argument("--events", type=int, default=0, help="answers are streams of so many events")
    parser.add_argument("--burst", type=int, default=1, help="so many of them in one write")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    return parser.parse_args()


# --- from outside --------------------------------------------------------------------------------


def _run(options: argparse.Namespace, name: str, *before: str) -> str:
    """What a process that counts says."""
    command = [*before, sys.executable, "-m", "tests.bench.count", "--inside", name, "--model", options.model]
    command += ["--events", str(options.events), "--burst", str(options.burst)]
    command += ["--list", name] if options.list else []
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, cwd=contenders.ROOT, env=environ, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name} was not counted:\n{done.stderr[-3000:]}")
    return done.stdout


def _instructions(options: argparse.Namespace, name: str) -> int:
    """Of all calls together, the ends' included."""
    with tempfile.TemporaryDirectory(prefix="kuro-count-") as place:
        out = f"--callgrind-out-file={place}/out"
        _run(options, name, *_VALGRIND, out)
        lines = Path(place, "out").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("totals:"))


# --- inside --------------------------------------------------------------------------------------


async def _inside(name: str, plan: load.Plan, listed: bool) -> None:
    """Prints how many functions were called, or which."""
    with tempfile.TemporaryDirectory(prefix="kuro-count-") as place:
        stub = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
        async with _serving(name, stub.sockets[0].getsockname()[1], Path(place)) as port:
            plan = msgspec.structs.replace(plan, port=port)
            await _load(msgspec.structs.replace(plan, requests=WARM))
            profile = cProfile.Profile(time.thread_time)  # the machine may be busy
            if _valgrind():
                _count("on")
            else:
                profile.enable()
            await _load(plan)
            profile.disable()
            if _valgrind():
                _count("off")
    stats: list[Any] = profile.getstats()
    print(_shown(stats) if listed else sum(each.callcount for each in stats))
    sys.stdout.flush()
    os._exit(0)  # the server's own end is nobody's business here


async def _load(plan: load.Plan) -> None:
    report = await load.run(plan)
    if report.errors:
        raise RuntimeError(f"{report.errors} wrong answers, the first: {report.first_error}")


@asynccontextmanager
async def _serving(name: str, upstream: int, place: Path) -> AsyncIterator[int]:
    """A contender within this process, and its port."""
    if name == DIRECT:
        yield upstream
        return
    server = _floor(upstream) if name == "floor" else _kuro(name, upstream, place)
    listening = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve([listening]))
    while not server.started:  # noqa: ASYNC110  # uvicorn's is a plain flag
        await asyncio.sleep(0.01)
    async with _other_worker(place) if name == "shared" else nullcontext():
        yield listening.getsockname()[1]
    server.should_exit = True
    await serving


def _other_worker(place: Path) -> AbstractAsyncContextManager[None]:
    from proxy.routing.adapt import Adapt
    from proxy.routing.policy import AdaptPolicy, RoutingPolicy
    from proxy.routing.router import new_memory
    from proxy.sharing import Sharing

    memory = new_memory(RoutingPolicy(), time.monotonic, shared=True)
    return Sharing(place, "2", memory, Adapt(AdaptPolicy(), time.monotonic, lambda *_: None), time.time)


def _floor(upstream: int) -> uvicorn.Server:
    os.environ["UPSTREAM"] = f"http://127.0.0.1:{upstream}"
    quiet: dict[str, Any] = {"log_level": "warning", "access_log": False}
    return uvicorn.Server(uvicorn.Config("tests.bench.floor:app", http="httptools", **quiet))


def _kuro(name: str, upstream: int, place: Path) -> uvicorn.Server:
    # Not before: the clock that they find is the one that they keep.
    from proxy import launch, settings
    from proxy.reload import Among
    from proxy.server.link import Line
    from proxy.server.orders import Orders
    from proxy.telemetry import logs
    from proxy.telemetry.board import Board

    alike = "silent" if name in WORKERS else name
    contenders.MAKERS[alike](upstream, place)
    loaded = settings.load(place / alike, {})
    logs.configure(loaded.log)
    nobody: Any = None
    board = Board(place, "1") if name in WORKERS else None
    return launch._server(loaded, Orders(), None, Among(Line(nobody)), board=board)


def _valgrind() -> bool:
    return "vgpreload" in os.environ.get("LD_PRELOAD", "")


def _count(switch: str) -> None:
    """Has valgrind begin, or end, to count."""
    environ = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    command = ["callgrind_control", "-i", switch, str(os.getpid())]
    subprocess.run(command, env=environ, check=True, capture_output=True)


def _shown(stats: list[Any]) -> str:
    """Functions by the time that they themselves took, those aside that few calls need."""
    usual = [each for each in stats if each.callcount >= CALLS / 20]
    usual.sort(key=lambda each: each.inlinetime, reverse=True)
    return "\n".join(
        f"{each.inlinetime / CALLS * 1e6:8.2f} us {each.callcount / CALLS:8.2f} x  {_called(each.code)}"
        for each in usual
    )


def _called(code: Any) -> str:
    if isinstance(code, str):
        return code
    return f"{Path(code.co_filename).name}:{code.co_firstlineno} {code.co_qualname}"


if __name__ == "__main__":
    main()
