"""``governor sandbox serve`` and ``check``, as their user meets them."""

import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from governor_sandbox import Sandbox, SandboxError
from governor_sandbox.cli import app, bill_table
from tests.sandbox.clients import openai

SERVE = "import sys; from governor_sandbox.cli import app; app(sys.argv[1:])"


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    path = tmp_path / "desk.yaml"
    path.write_text("rules: [{reply: hello}]\nfaults: [{kind: throttle, nth: 9}]\n")
    return path


def test_check_accepts_a_scenario(desk: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(desk)])

    assert 0 == result.exit_code
    assert "ok" in result.output


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_bad_scenario_exits_with_2_and_says_where(tmp_path: Path, command: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("rules:\n  - replly: hi\n")

    result = CliRunner().invoke(app, [command, str(path)])

    assert 2 == result.exit_code
    assert "bad.yaml:2: " in result.stderr
    assert "Traceback" not in result.output


def test_a_taken_port_exits_with_2_and_the_remedy(desk: Path, box: Sandbox) -> None:
    result = CliRunner().invoke(app, ["serve", str(desk), "--port", str(box.port)])

    assert 2 == result.exit_code
    assert f"port {box.port}" in result.stderr
    assert "--port" in result.stderr


@pytest.mark.parametrize("port", ["99999", "65536", "-1"])
def test_a_port_that_is_none_is_a_mistake_of_usage(desk: Path, port: str) -> None:
    result = CliRunner().invoke(app, ["serve", str(desk), "--port", port])

    assert 2 == result.exit_code
    assert f"port {port} is not between 0 and 65535: choose another with --port" in result.stderr
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("port", [65_536, -1])
def test_a_port_that_is_none_is_refused_from_code_too(port: int) -> None:
    with pytest.raises(SandboxError, match=f"port {port} is not between 0 and 65535"):
        Sandbox(port=port).start()


def test_check_as_json_is_one_document(desk: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(desk), "--json"])

    assert {"file": str(desk), "name": str(desk), "models": [], "faults": 1} == json.loads(result.stdout)
    assert (0, "") == (result.exit_code, result.stderr)


@pytest.mark.parametrize("command", ["check", "serve"])
def test_with_json_a_bad_scenario_is_one_document_on_stderr(tmp_path: Path, command: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("rules:\n  - replly: hi\n")

    result = CliRunner().invoke(app, [command, str(path), "--json"])

    error = json.loads(result.stderr)["error"]
    assert ("ScenarioError", str(path), 2) == (error["type"], error["file"], error["line"])
    assert "rules[0].reply: Field required" == error["message"]
    assert (2, "") == (result.exit_code, result.stdout)


def test_with_json_a_taken_port_is_one_document_on_stderr(desk: Path, box: Sandbox) -> None:
    result = CliRunner().invoke(app, ["serve", str(desk), "--port", str(box.port), "--json"])

    assert f"port {box.port}" in json.loads(result.stderr)["error"]["message"]
    assert (2, "") == (result.exit_code, result.stdout)


def _started(desk: Path, *options: str) -> subprocess.Popen[str]:
    import governor_sandbox

    root = str(Path(governor_sandbox.__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, "-c", SERVE, "serve", str(desk), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": root, "PATH": "", "COLUMNS": "120"},
    )


def test_serve_prints_its_url_as_json_and_the_bill_when_interrupted(desk: Path) -> None:
    from http.client import HTTPConnection

    process = _started(desk, "--json")
    assert process.stdout is not None
    opening = json.loads(process.stdout.readline())
    host, _, port = opening["url"].removeprefix("http://").partition(":")
    connection = HTTPConnection(host, int(port), timeout=10)
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]})
    connection.request("POST", "/v1/chat/completions", body, {"Authorization": "Bearer x"})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)

    assert "hello" == answer["choices"][0]["message"]["content"]
    assert opening["url"] + "/v1" == opening["env"]["OPENAI_BASE_URL"]
    assert (0, "") == (process.returncode, err)
    assert 1 == json.loads(out)["requests"]


def test_serve_tells_a_person_what_to_export(desk: Path) -> None:
    process = _started(desk)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(8)]
    process.send_signal(signal.SIGTERM)
    out = process.stdout.read()  # not communicate: it would pass over what readline has read ahead
    process.wait(timeout=20)
    process.communicate()

    assert any(line.strip().startswith("export AWS_ENDPOINT_URL_BEDROCK_RUNTIME=http://127.0.0.1:") for line in lines)
    assert "ChatBedrockConverse" in out
    assert "Bill of the sandbox" in out


def test_the_bill_is_a_table_per_model(box: Sandbox) -> None:
    openai(box).invoke("hi")
    console = Console(width=120, record=True, file=io.StringIO())

    console.print(bill_table(box.meter.bill()))

    text = console.export_text()
    assert "gpt-4o" in text
    assert "0.000023" in text
