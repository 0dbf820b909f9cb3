"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import urlopen

import pytest

from proxy import __version__
from proxy.__main__ import main
from proxy.settings import FILES, REGISTRY, default_directory
from tests.settings.broken import MINIMAL

FOREIGN = ("GROQ_", "OPENROUTER_", "OPENAI_", "ANTHROPIC_", "OLLAMA_", "VLLM_", "KURO_", "OTEL_")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(FOREIGN):
            monkeypatch.delenv(name)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    (tmp_path / REGISTRY).write_text(MINIMAL.replace("openai", "opnai") + "modles: []\n")
    return tmp_path


# --- check ---------------------------------------------------------------------------------------


def test_check_says_what_is_ready_what_is_left_out_and_what_to_mind(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["ready", "simulated/fast", "simulated", "1,048,576"]
    assert ["left", "out", "groq/llama-3.3-70b", "set", "GROQ_API_KEY"] in [line.split() for line in lines]
    assert lines[-1] == "warning   no real model is ready: answers are simulated"


def test_check_shows_a_key_by_nothing_but_its_models(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "hunter2")
    monkeypatch.setenv("KURO_API_KEY", "hunter2")
    assert main(["check"]) == 0
    out = capsys.readouterr().out
    assert "ready     groq/llama-3.3-70b" in out and "131,072 tokens  $0.59 in, $0.79 out" in out
    assert "hunter2" not in out and "warning" not in out


def test_check_warns_of_an_open_house(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / REGISTRY).write_text(MINIMAL)
    (tmp_path / "proxy.yml").write_text("listen: {host: 0.0.0.0}\n")
    assert main(["check", "--config", str(tmp_path)]) == 0
    captured = capsys.readouterr().out
    assert "ready     a  stub            8,192 tokens  price unknown\n" in captured
    assert "warning   " in captured and "0.0.0.0" in captured


def test_check_tells_each_problem_on_a_line_of_stderr(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--config", str(broken)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        f"{broken}/{REGISTRY}: modles: unknown key (did you mean 'models'?)",
        f"{broken}/{REGISTRY}: providers.stub.dialect: 'opnai' is not a dialect (did you mean 'openai'?)",
    ]


def test_a_directory_that_may_not_be_read_is_a_problem_not_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "locked"
    place.write_text("as good as one: the superuser may read any directory")
    assert main(["check", "--config", str(place)]) == 2
    told = capsys.readouterr().err.splitlines()
    assert f"{place}/{REGISTRY}: cannot be read: Not a directory" in told


def test_a_link_to_nowhere_is_not_taken_for_a_file_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / REGISTRY).write_text(MINIMAL)
    (tmp_path / "proxy.yml").symlink_to("/nowhere/proxy.yml")
    assert main(["check", "--config", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"{tmp_path}/proxy.yml: is a link to /nowhere/proxy.yml, which is not there\n"
    )


def test_the_environment_names_the_directory(
    broken: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KURO_CONFIG", str(broken))
    assert main(["check"]) == 2
    assert main(["check", "--config", str(default_directory())]) == 0


# --- init ----------------------------------------------------------------------------------------


def test_init_writes_a_copy_that_check_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "new" / "conf"
    assert main(["init", str(directory)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(directory / name) for name in FILES]
    assert {path.name for path in directory.iterdir()} == set(FILES)
    assert main(["check", "--config", str(directory)]) == 0


def test_init_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "routing.yml").write_text("mine")
    assert main(["init", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"kuro: {tmp_path} already holds routing.yml: nothing was written\n"
    assert [path.name for path in tmp_path.iterdir()] == ["routing.yml"]


def test_init_into_a_file_says_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["init", str(tmp_path / "file" / "conf")]) == 2
    assert "Not a directory" in capsys.readouterr().err


# --- explain -------------------------------------------------------------------------------------


def test_explain_shows_the_decision_for_one_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "Write a Python function that merges two sorted lists."]) == 0
    decision = json.loads(capsys.readouterr().out)
    assert decision["intent"] == "code_generation"
    assert decision["selected_model"] == "simulated/code" == decision["plan"][0]
    assert set(decision["scores"]["simulated/code"]) == {"quality", "success", "latency", "cost", "total"}
    assert 300 < decision["features"]["expected_tokens"] <= 400
    assert 0 <= decision["difficulty"] <= 1 and decision["decision_us"] > 0 and decision["step"] == "score"


def test_explain_takes_what_is_no_utf_8(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "Write a caf\udce9 review"]) == 0
    assert json.loads(capsys.readouterr().out)["selected_model"]


def test_explain_takes_profiles_and_refuses_unknown_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--model", "auto:fast", "hello there"]) == 0
    assert json.loads(capsys.readouterr().out)["selected_model"] == "simulated/fast"
    assert main(["explain", "--model", "nobody/nothing", "hello"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and "nobody/nothing" in captured.err


ROWS = (
    b'{"id": "one", "prompt": "Translate to French: good morning"}\n'
    b'{"id": 2, "messages": [{"role": "user", "content": "Prove that there is no largest prime."}]}\n'
    b"{broken\n"
    b'{"id": 3}\n'
    b'{"id": 4, "prompt": "hi", "model": "simulated/code"}\n'
)


def test_explain_goes_through_a_file_and_past_its_bad_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").write_bytes(ROWS)
    assert main(["explain", "--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]) == 1
    rows = [json.loads(line) for line in (tmp_path / "out").read_bytes().splitlines()]
    assert [row["id"] for row in rows] == ["one", 2, 4]
    assert rows[0]["intent"] == "translation" and next(iter(rows[0])) == "id"
    assert rows[2]["step"] == "explicit" and rows[2]["selected_model"] == "simulated/code"
    complaints = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in complaints] == ["line 3", "line 4", "2 of 5 rows were bad"]


def test_explain_takes_a_prompt_or_messages_not_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").write_text('{"prompt": "hi", "messages": [{"role": "user", "content": "x"}]}\n')
    assert main(["explain", "--input", str(tmp_path / "in"), "--output", os.devnull]) == 1
    assert "line 1: `prompt` and `messages` exclude each other" in capsys.readouterr().err


def test_explain_reads_and_writes_the_standard_streams(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    (tmp_path / "in").write_bytes(ROWS.splitlines()[0])
    with (tmp_path / "in").open("rb") as stream:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
        assert main(["explain", "--input", "-"]) == 0
    assert json.loads(capfdbinary.readouterr().out)["id"] == "one"


class Terminal(io.StringIO):
    """A screen to draw on."""

    def isatty(self) -> bool:
        return True


def test_explain_leaves_a_clean_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(ROWS)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert main(["explain", "--input", str(tmp_path / "in"), "--output", os.devnull]) == 1
    assert "\r\x1b[Kline 3: " in sys.stderr.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "begins"),
    [
        ([], "about "),
        (["--json"], "{"),
        (["--format", "json"], "{"),
        (["--format", "text"], "about "),
    ],
)
def test_explain_shows_a_sheet_on_a_terminal(
    arguments: list[str], begins: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert main(["explain", "Write a haiku", *arguments]) == 0
    assert sys.stdout.getvalue().startswith(begins)  # type: ignore[attr-defined]


def test_explain_writes_sheets_of_rows_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").write_bytes(ROWS.splitlines()[0])
    out = tmp_path / "out"
    assert main(["explain", "--format", "text", "--input", str(tmp_path / "in"), "--output", str(out)]) == 0
    assert out.read_text("utf-8").startswith("one\n\nabout ") and "Plan, by score" in out.read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "kuro: give one prompt, or --input FILE\n"),
        (["hi", "--input", "x"], "kuro: give one prompt, or --input FILE\n"),
        (["--input", "{dir}/none"], "kuro: {dir}/none: No such file or directory\n"),
        (
            ["--input", "{dir}/in", "--output", "{dir}/none/out"],
            "kuro: {dir}/none/out: No such file or directory\n",
        ),
        (["--input", "{dir}/in", "--output", "{dir}/in"], "kuro: {dir}/in: is input and output at once\n"),
    ],
    ids=["nothing to do", "two things to do", "no input", "nowhere to write", "over its own input"],
)
def test_explain_refuses_what_it_cannot_do(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").write_bytes(ROWS)
    assert main(["explain", *(argument.format(dir=tmp_path) for argument in arguments)]) == 2
    assert capsys.readouterr().err == told.format(dir=tmp_path)
    assert (tmp_path / "in").read_bytes() == ROWS


# --- the command line itself ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "environ", "told"),
    [
        ([], {}, "the following arguments are required: COMMAND"),
        (["srve"], {}, "invalid choice: 'srve'"),
        (["serve", "--port", "x"], {}, "argument --port: 'x' is not a number from 0 to 65535"),
        (["serve"], {"KURO_PORT": "65536"}, "argument --port: '65536' is not a number from 0 to 65535"),
        (["serve"], {"KURO_WORKERS": "0"}, "argument --workers: '0' is not a number from 1 to 1024"),
        (["serve", "--log-level", "loud"], {}, "'loud' is none of debug, info, warning, error, critical"),
    ],
)
def test_a_wrong_call_exits_with_2_and_says_why(
    arguments: list[str],
    environ: dict[str, str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert told in capsys.readouterr().err


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"kuro-proxy {__version__}\n"


# --- as a process --------------------------------------------------------------------------------


def kuro(*arguments: str, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "proxy", *arguments],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_serve_refuses_strangers_without_a_key_and_shows_no_traceback() -> None:
    with kuro("serve", KURO_HOST="0.0.0.0", KURO_PORT="0") as process:
        out, err = process.communicate(timeout=30)
    assert process.returncode == 2 and out == ""
    assert "Traceback" not in err and len(err.splitlines()) == 1 and "0.0.0.0" in err


def test_check_starts_without_the_server(tmp_path: Path) -> None:
    script = "import sys; from proxy.__main__ import main; main(['check']); print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    loaded = set(out.splitlines()[-1].split())
    assert not loaded & {"litestar", "uvicorn", "httpx", "opentelemetry", "prometheus_client"}


def test_a_command_is_helped_without_any_room_and_only_its_own_is_opened() -> None:
    script = (
        "import sys; from proxy.__main__ import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(*[name for name in sys.modules if name.startswith('proxy.')])"
    )
    for called, rooms in ((["--help"], set()), (["check", "--help"], {"proxy.commands.check"})):
        run = subprocess.run(
            [sys.executable, "-c", script, *called], capture_output=True, text=True, check=False
        )
        loaded = set(run.stdout.splitlines()[-1].split())
        others = {"proxy.commands", "proxy.commands.options"}
        assert {name for name in loaded if name.startswith("proxy.commands")} - others == rooms
        assert rooms or "proxy.settings" not in loaded


def test_ctrl_c_while_a_room_is_opened_ends_without_a_word() -> None:
    script = (
        "import sys\n"
        "class Impatient:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'proxy.settings': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Impatient())\n"
        "from proxy.__main__ import main\n"
        "sys.exit(main(['check']))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "")


def test_closed_standard_streams_are_no_error() -> None:
    closed = f"exec {sys.executable} -m proxy explain hi <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", closed], check=False).returncode == 0


@pytest.fixture
def serving() -> Iterator[subprocess.Popen[str]]:
    with kuro("serve", "--port", "0", "--log-level", "info") as process:
        yield process
        if process.poll() is None:
            process.kill()


def test_serve_listens_where_it_says_and_ends_when_told(serving: subprocess.Popen[str]) -> None:
    assert serving.stdout is not None
    said: dict[str, Any] = next(
        record for line in serving.stdout if (record := json.loads(line)).get("event") == "listening"
    )
    with urlopen(f"{said['url']}/healthz", timeout=10) as reply:
        assert reply.status == 200
    serving.send_signal(signal.SIGTERM)
    assert serving.wait(timeout=30) == 0
