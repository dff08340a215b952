"""Runs as the first process of a guest in the place of its own, does the same, and looks around.

Prints one line, `FACTS` and JSON. Not a test: `test_boot` puts it into the guest.
"""

import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib.util import cache_from_source
from pathlib import Path

from atoll_agent.boot import child, linux, main, ports


def code(attempt: Callable[[], object]) -> str:
    """The name of the error, or nothing."""
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


def unsigned_module() -> None:
    """A module of the image with its signature cut off."""
    signed = next(Path("/usr/lib/modules").rglob("tsm.ko")).read_bytes()
    marker = b"~Module signature appended~\n"
    assert signed.endswith(marker)
    # The loader does not look for a signature where there is no marker.
    Path("/tmp/unsigned.ko").write_bytes(signed.removesuffix(marker))
    linux.load_module("/tmp/unsigned.ko")


def listening() -> list[str]:
    """Lines of the kernel's tables of sockets, without their heads."""
    tables = ("tcp", "tcp6", "udp", "udp6", "raw", "packet")
    found = [Path("/proc/net", name) for name in tables]
    return [line for path in found if path.exists() for line in path.read_text().splitlines()[1:]]


def bubblewrap() -> str:
    command = ["/usr/bin/bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--"]
    python = ["/usr/bin/python3.13", "-I", "-c", "print(6 * 7)"]
    done = subprocess.run([*command, *python], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


def wall() -> str | None:
    """The agent's own proof that it can build its wall."""
    from atoll_agent.sandbox.wall.bubblewrap import missing

    return missing()


def wasm() -> int:
    import wasmtime

    store = wasmtime.Store()
    text = '(module (func (export "f") (result i32) i32.const 42))'
    module = wasmtime.Module(store.engine, text)
    function = wasmtime.Instance(store, module, []).exports(store)["f"]
    assert isinstance(function, wasmtime.Func)
    return int(function(store))


def signature() -> int:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return len(Ed25519PrivateKey.generate().sign(b"x"))


def cgroup() -> str | None:
    """What stands against a cgroup for a run; the agent is in the one that was made for it."""
    from atoll_agent.sandbox.limits import Limits
    from atoll_agent.sandbox.wall.cgroup import Cgroup, make

    own = f"0::/{child.CGROUP.name}\n"
    made = make("run", Limits(), own=own)
    return None if isinstance(made, Cgroup) else made


def facts() -> dict[str, object]:
    import atoll_agent.enclave

    ports.link_port("atoll.channel")
    return {
        "lockdown": Path("/sys/kernel/security/lockdown").read_text(),
        "sysrq": Path("/proc/sys/kernel/sysrq").read_text().strip(),
        "unsigned_module": code(unsigned_module),
        "dev_mem": code(lambda: os.open("/dev/mem", os.O_RDONLY)),
        "write_root": code(lambda: os.open("/new", os.O_CREAT | os.O_WRONLY)),
        "bubblewrap": bubblewrap(),
        "wall": wall(),
        "interfaces": [name for _, name in socket.if_nameindex()],
        "sockets": listening(),
        "tsm": Path("/sys/kernel/config/tsm/report").is_dir(),
        "port": str(Path("/dev/virtio-ports/atoll.channel").resolve()),
        "wasm": wasm(),
        "signature": signature(),
        "compiled": Path(cache_from_source(str(atoll_agent.enclave.__file__))).exists(),
        "cgroup": cgroup(),
    }


try:
    main.prepare()
    sys.stdout.write(f"FACTS {json.dumps(facts())}\n")
    sys.stdout.flush()
finally:
    linux.power_off()
