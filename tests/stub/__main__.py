"""The stub by hand: `python -m tests.stub --port 9000 'primary: fail(500), ok("hi")' 'slow: ok(pace=0.5)'`.

Each script names a model and its behaviours as one would write them in a test.
"""

from __future__ import annotations

import argparse
import signal

import tests.stub as stub
from tests.stub import Behaviour, Received, StubUpstream

_NAMES = {name: getattr(stub, name) for name in stub.__all__} | {"__builtins__": {}}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.stub", description=__doc__)
    parser.add_argument("scripts", nargs="*", metavar="MODEL: BEHAVIOUR, ...")
    parser.add_argument("--port", type=int, default=9000)
    options = parser.parse_args()
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with StubUpstream(port=options.port, on_request=_say) as upstream:
        for line in options.scripts:
            model, _, behaviours = line.partition(": ")
            upstream.script(model, *_behaviours(behaviours))
        print(f"stub upstream on {upstream.url}, ctrl-c ends it", flush=True)
        signal.sigwait(ends)


def _behaviours(source: str) -> tuple[Behaviour, ...]:
    behaviours: tuple[Behaviour, ...] = eval(f"({source},)", dict(_NAMES))
    return behaviours


def _say(received: Received) -> None:
    kind = "stream" if received.json.get("stream") else "whole"
    print(
        f"{received.method} {received.path} {received.model!r} {kind} {len(received.body)} bytes", flush=True
    )


if __name__ == "__main__":
    main()
