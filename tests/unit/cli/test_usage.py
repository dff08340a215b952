"""Wrong command lines: exit status 2, one sentence, and a JSON document if that was asked for."""

from pathlib import Path

import click
import pytest

from atoll.errors import ConfigError, NotFoundError, RefusedError, UnreachableError
from atoll_cli import main, session
from atoll_cli.stopping import StoppedError
from unit.cli.console import Console

BAD_NAMES = ["", ".", "..", "a..b", "a/b", "/a", "a\0b", "*", "a*", ">", "a.>", ".hidden", "a b",
             "ä", "x" * 65, "a\nb", "\x1b[2J"]  # fmt: skip


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "module.wasm"
    path.write_bytes(b"\0asm\x01\0\0\0")
    return path


@pytest.mark.parametrize("name", BAD_NAMES)
def test_refuses_bad_dataset_names(console: Console, module: Path, name: str) -> None:
    said = console("run", module, "--data", f"{name}={module}")
    assert said.status == 2
    assert said.err.startswith("error: ")
    assert said.err.replace("\n", "").isprintable()


@pytest.mark.parametrize("name", [name for name in BAD_NAMES if name])
def test_refuses_bad_key_and_job_names(console: Console, tmp_path: Path, name: str) -> None:
    assert console("keys", "new", "--", name).status == 2
    assert console("jobs", "show", "--", name).status == 2
    assert console("result", "--out", tmp_path / "out", "--", name).status == 2
    assert not console.home.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--data", "iris"),
        ("--data", "iris=/does/not/exist"),
        ("--data", "iris=a\0b"),
        ("--data", "algorithm=module.wasm"),
        ("--data", "invocation=module.wasm"),
        ("--env", "NAME"),
        ("--env", "=x"),
        ("--env", "A-B=x"),
        ("--env", "A=\udcff"),
        ("--arg", "\udcff"),
        ("--wall-s", "0"),
        ("--wall-s", "soon"),
        ("--memory-mib", "4097"),
        ("--tee", "none"),
        ("--host-label", "gpu"),
        ("--host-label", "gpu=a b"),
        ("--host-label", "=a100"),
        ("--host-label", "-gpu=a100"),
        ("--host-label", "gpu=a", "--host-label", "gpu=b"),
        tuple(f"--host-label=l{number}=v" for number in range(17)),
        ("--host-cpus", "-1"),
        ("--host-memory-mib", "much"),
        ("--after", "/does/not/exist"),
        ("--key", "../me"),
        ("--unknown",),
    ],
)
def test_refuses_bad_options_of_run(
    console: Console, module: Path, arguments: tuple[str, ...]
) -> None:
    assert console("run", module, *arguments).status == 2


def test_refuses_one_dataset_twice(console: Console, module: Path) -> None:
    twice = ("--data", f"a={module}", "--data", f"a={module}")
    assert console("run", module, *twice).status == 2


def test_refuses_a_result_directory_that_is_not_empty(console: Console, module: Path) -> None:
    said = console("run", module, "--out", module.parent)
    assert said.status == 2
    assert "not empty" in said.err


def test_a_usage_error_is_a_document_with_json(console: Console) -> None:
    for arguments in (("run", "--json"), ("run", "nothing.wasm", "--json"), ("--json", "nonsense")):
        said = console(*arguments)
        assert said.status == 2
        assert said.document()["error"]["code"] == "usage"


@pytest.mark.parametrize(
    "arguments",
    [
        ("jobs", "list"),
        ("jobs", "show", "j1"),
        ("jobs", "cancel", "j1"),
        ("events",),
        ("events", "--follow", "--job", "j1"),
        ("trace", "j1"),
        ("status",),
        ("run", "MODULE"),
    ],
)
def test_without_a_stack_commands_say_so(
    console: Console, module: Path, arguments: tuple[str, ...]
) -> None:
    given = [str(module) if argument == "MODULE" else argument for argument in arguments]
    said = console(*given, "--json")
    assert said.status == 3
    assert said.document()["error"]["code"] == "profile.missing"
    assert "atoll up" in said.document()["error"]["hint"]
    assert "hint: " in said.err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RefusedError("no"), 1),
        (ConfigError("no"), 1),
        (NotFoundError("no"), 1),
        (NotFoundError("no", code="profile.missing"), 3),
        (UnreachableError("no"), 3),
        (UnreachableError("no", code="bus.timeout"), 3),
        (RuntimeError("secret"), 1),
        (StoppedError(2), 130),
        (StoppedError(15), 143),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_error_has_its_exit_status(
    console: Console, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(session, "KeyStore", fail)
    said = console("keys", "list", "--json")
    assert said.status == status
    assert "secret" not in said.out + said.err
    assert "Traceback" not in said.err
    assert set(said.document()["error"]) == {"code", "message", "hint"}


def test_a_message_from_afar_is_escaped(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RefusedError("\x1b[2Jgone", code="far.away", hint="\u202ereversed")

    monkeypatch.setattr(session, "KeyStore", fail)
    said = console("keys", "list")
    assert "\x1b" not in said.err
    assert "\u202e" not in said.err
    assert "\\x1b[2Jgone [far.away]" in said.err


def test_a_traceback_is_shown_only_when_asked_for(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("where")

    monkeypatch.setattr(session, "KeyStore", fail)
    assert "Traceback" in console("keys", "list", env={"ATOLL_DEBUG": "1"}).err


def leaves(command: click.Command, *before: str) -> list[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        return [before]
    context = click.Context(command)
    found = {name: command.get_command(context, name) for name in command.list_commands(context)}
    assert None not in found.values()
    return [line for name, one in found.items() if one for line in leaves(one, *before, name)]


def test_every_command_has_json_and_help(console: Console) -> None:
    lines = leaves(main.cli)
    assert len(lines) == 92
    for line in lines:
        said = console(*line, "--help")
        assert said.status == 0
        assert "--json" in said.out


def test_says_its_version(console: Console) -> None:
    said = console("version", "--json")
    assert console("--version").out.strip() == f"atoll {said.document()['version']}"
