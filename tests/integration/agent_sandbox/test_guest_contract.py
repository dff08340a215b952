"""What an honest guest gets, and what it cannot reach (docs/formats/guest-contract.md)."""

import pytest

from atoll.errors import InputError
from atoll_agent.sandbox.limits import Limits
from integration.agent_sandbox.rig import ran
from support import wat
from support.wat import CREATE, DATA, DIRECTORY, FD_OUT, READ, RESULTS, TRUNCATE, WRITE, Guest


async def test_a_guest_gets_its_data_arguments_and_environment_and_its_outputs_come_back() -> None:
    done = await ran(
        wat.echo(), data={"in": b"\x00data\xff"}, args=["", "two words", "\u20ac"], env={"A": "b c"}
    )
    assert done.outcome.succeeded
    assert done.code == "workload.exited"
    assert done.stdout == "algorithm\0\0two words\0\u20ac\0A=b c\0".encode()
    assert done.stderr == b"copied\n"
    assert done.results == {"out": b"\x00data\xff"}
    assert done.outcome.used.memory_bytes == 64 << 10
    assert done.outcome.used.output_files == 1
    assert done.outcome.used.output_bytes == 6 + len(done.stdout) + len(done.stderr)


async def test_a_guest_has_nothing_of_the_agents_environment() -> None:
    done = await ran(wat.echo())
    assert done.stdout == b"algorithm\0"


async def test_an_exit_code_comes_back_with_what_was_written_before() -> None:
    guest = Guest()
    guest.do(guest.write(wat.STDOUT, *guest.text("so far")))
    guest.do(guest.open(RESULTS, "part", oflags=CREATE, rights=WRITE))
    guest.exit(42)
    done = await ran(guest.wasm())
    assert (done.code, done.outcome.exit_code) == ("workload.exit_nonzero", 42)
    assert not done.outcome.succeeded
    assert done.stdout == b"so far"
    assert done.results == {"part": b""}


async def test_returning_from_start_is_exit_code_zero() -> None:
    assert (await ran(Guest().wasm())).outcome.succeeded


async def test_files_in_directories_come_back_by_their_path_in_order() -> None:
    guest = Guest()
    guest.do(guest.call("path_create_directory", RESULTS, "z"))
    guest.do(guest.call("path_create_directory", RESULTS, "empty"))
    for name in ("z/b", "z/a", "y"):
        guest.do(guest.open(RESULTS, name, oflags=CREATE, rights=WRITE))
    done = await ran(guest.wasm())
    assert list(done.results) == ["y", "z/a", "z/b"]
    assert done.outcome.used.output_files == 5


async def test_standard_input_is_empty() -> None:
    guest = Guest()
    guest.raw("(i32.store (i32.const 0) (i32.const 4096))(i32.store (i32.const 4) (i32.const 64))")
    guest.do(guest.call("fd_read", 0, 0, 1, 48))
    guest.raw("(if (i32.load (i32.const 48)) (then unreachable))")
    assert (await ran(guest.wasm())).outcome.succeeded


async def test_no_host_file_can_be_opened_and_no_socket_is_there() -> None:
    guest = Guest()
    for directory in (DATA, RESULTS):
        for path in ("/etc/passwd", "../stdout", "../../../etc/passwd", "..", "x/../../stdout"):
            guest.report(guest.open(directory, path))
        guest.report(guest.open(directory, "../made", oflags=CREATE, rights=WRITE))
        guest.report(guest.call("sock_accept", directory, 0, FD_OUT))
    for descriptor in range(5, 20):
        guest.report(guest.call("sock_accept", descriptor, 0, FD_OUT))
    await _require_all_refused(guest)


async def test_a_link_out_of_results_cannot_be_followed_and_is_refused_in_the_output() -> None:
    guest = Guest()
    guest.report(guest.call("path_symlink", "../stdout", RESULTS, "link"))
    guest.report(guest.open(RESULTS, "link"))
    guest.report(guest.call("path_symlink", "/etc/passwd", RESULTS, "absolute"))
    guest.report(guest.open(RESULTS, "absolute"))
    done = await ran(guest.wasm())
    assert done.code == "workload.output_kind"
    assert done.results == {}
    made, opened, made_absolute, opened_absolute = done.stdout.split()
    assert made == b"00"
    assert opened != b"00"
    assert made_absolute != b"00" or opened_absolute != b"00"


async def test_data_cannot_be_written_created_removed_renamed_linked_or_retimed() -> None:
    guest = Guest()
    now = (0, 0, 5)
    guest.report(guest.open(DATA, "in", rights=WRITE))
    guest.report(guest.open(DATA, "in", rights=READ | WRITE))
    guest.report(guest.open(DATA, "in", oflags=TRUNCATE, rights=WRITE))
    guest.report(guest.open(DATA, "in", oflags=TRUNCATE))
    guest.report(guest.open(DATA, "new", oflags=CREATE, rights=WRITE))
    guest.report(guest.open(DATA, "new", oflags=CREATE))
    guest.report(guest.call("path_create_directory", DATA, "new"))
    guest.report(guest.call("path_unlink_file", DATA, "in"))
    guest.report(guest.call("path_rename", DATA, "in", DATA, "other"))
    guest.report(guest.call("path_rename", DATA, "in", RESULTS, "other"))
    guest.do(guest.open(RESULTS, "mine", oflags=CREATE, rights=WRITE))
    guest.report(guest.call("path_rename", RESULTS, "mine", DATA, "in"))
    guest.report(guest.call("path_symlink", "in", DATA, "link"))
    guest.report(guest.call("path_link", DATA, 0, "in", DATA, "link"))
    guest.report(guest.call("path_link", DATA, 0, "in", RESULTS, "link"))
    guest.report(guest.call("path_link", RESULTS, 0, "mine", DATA, "link"))
    guest.report(guest.call("path_filestat_set_times", DATA, 1, "in", *now))
    guest.report(guest.call("path_filestat_set_times", DATA, 1, ".", *now))
    guest.report(guest.call("path_filestat_set_times", DATA, 0, "in", 0, 0, 10))
    guest.require(guest.open(DATA, "in"))
    guest.report(guest.write(guest.opened(), 1024, 4))
    guest.report(guest.call("fd_filestat_set_size", guest.opened(), 0))
    guest.report(guest.call("fd_allocate", guest.opened(), 0, 4096))
    guest.report(guest.call("fd_filestat_set_times", guest.opened(), *now))
    guest.require(guest.open(DATA, ".", oflags=DIRECTORY))
    guest.report(guest.call("path_unlink_file", guest.opened(), "in"))
    guest.report(guest.call("path_create_directory", guest.opened(), "new"))
    await _require_all_refused(guest)


async def _require_all_refused(guest: Guest) -> None:
    done = await ran(guest.wasm())
    assert done.outcome.succeeded, done.outcome.detail
    errors = done.stdout.split()
    assert errors
    assert [index for index, errno in enumerate(errors) if errno == b"00"] == []
    assert done.data == {"in": b"honest"}
    assert set(done.results) <= {"mine"}


@pytest.mark.parametrize(
    ("args", "env"),
    [
        (["nul \0"], {}),
        (["\ud800"], {}),
        (["x" * 65537], {}),
        (["x"] * 257, {}),
        (["x" * 60000] * 4, {}),
        ([], {"a=b": ""}),
        ([], {"": ""}),
        ([], {"A": "\0"}),
    ],
)
async def test_arguments_that_no_guest_can_get_unchanged_are_refused(
    args: list[str], env: dict[str, str]
) -> None:
    with pytest.raises(InputError) as caught:
        await ran(wat.echo(), args=args, env=env)
    assert caught.value.code == "workload.arguments"


async def test_the_largest_arguments_arrive() -> None:
    args = ["\U0001f3dd" * 16384] * 2
    guest = Guest(pages=8)
    guest.do(guest.call("args_sizes_get", 40, 44))
    guest.do(guest.call("args_get", 8192, 16384))
    guest.do(guest.write(wat.STDOUT, 16384, "(i32.load (i32.const 44))"))
    done = await ran(guest.wasm(), args=args, limits=Limits())
    assert done.stdout.decode().split("\0")[1:-1] == args
