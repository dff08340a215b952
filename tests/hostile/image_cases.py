"""Image archives that want something of the engine, before any of their code runs."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from typing import Final

from atoll.computation.steps import WorkloadKind
from hostile.case import ENDED, Case, codes
from hostile.honest import SOURCE, image
from support.images import Build, File, docker_archive, docker_members, program, sha256, tar
from support.programs import compiled

DOCKER: Final = WorkloadKind.DOCKER
_REFUSED: Final = codes("not_an_image")
_TRIED: Final = b"tried\n"


def cases() -> Iterator[Case]:
    """Archives that are refused, then images that start and may not get what they ask for."""
    for name, make, ends in _ARCHIVES:
        yield Case(name=f"image: {name}", kind=DOCKER, algorithm=make, codes=ends)
    for name, make, verb in _IMAGES:
        yield Case(
            name=f"image: {name}",
            kind=DOCKER,
            algorithm=make,
            args=(verb, "{file}"),
            codes=ENDED,
            said=_TRIED,
        )


def _main() -> File:
    return program(compiled(SOURCE))


def _with(name: str, file: File) -> Callable[[], bytes]:
    """An image with one more member in its layer."""
    return lambda: image({"main": _main(), name: file})


def _member(name: str, file: File) -> Callable[[], bytes]:
    """An archive with one more member beside the image."""
    return lambda: tar({**docker_members(_build()), name: file})


def _build(**more: object) -> Build:
    layer = tar({"main": _main()})
    return Build(layers=(layer,), entrypoint=("/main",), **more)  # type: ignore[arg-type]


def _bomb() -> bytes:
    """Half a gigabyte of zeros in half a megabyte."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed:
        info = tarfile.TarInfo("zeros")
        info.size = 512 << 20
        packed.write(info.tobuf())
        for _ in range(512):
            packed.write(bytes(1 << 20))
        packed.write(bytes(1024))
    build = _build()
    members = docker_members(build)
    return tar({**members, "0/layer.tar": File(content=out.getvalue())})


def _other_config() -> bytes:
    members = docker_members(_build())
    name = next(name for name in members if name.endswith(".json") and len(name) > 60)
    return tar({**members, name: File(content=members[name].content + b" ")})


def _other_layer() -> bytes:
    other = tar({"main": program(b"#!")})
    return tar({**docker_members(_build()), "0/layer.tar": File(content=other)})


def _two_images() -> bytes:
    one = docker_members(_build())
    manifest = json.loads(one["manifest.json"].content) * 2
    return tar({**one, "manifest.json": File(content=json.dumps(manifest).encode())})


def _out_of_archive() -> bytes:
    one = docker_members(_build())
    manifest = json.loads(one["manifest.json"].content)
    manifest[0]["Layers"] = ["../../../../etc/passwd"]
    return tar({**one, "manifest.json": File(content=json.dumps(manifest).encode())})


def _ambiguous() -> bytes:
    config = json.loads(_build().config)
    raw = json.dumps(config).encode().replace(b'"config"', b'"Config": {}, "config"', 1)
    name = f"{sha256(raw)}.json"
    manifest = [{"Config": name, "RepoTags": None, "Layers": ["0/layer.tar"]}]
    return tar(
        {
            name: File(content=raw),
            "0/layer.tar": File(content=_build().layers[0]),
            "manifest.json": File(content=json.dumps(manifest).encode()),
        }
    )


def _announced() -> bytes:
    """A first member that is a gigabyte long, by its header."""
    raw = bytearray(docker_archive(_build()))
    raw[124:136] = b"10000000000\0"
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw[:512])
    return bytes(raw)


_LINK, _HARD, _DEVICE = b"2", b"1", b"3"
_ARCHIVES: Final[tuple[tuple[str, Callable[[], bytes], frozenset[str]], ...]] = (
    ("a layer that leads out", _with("../../escaped", File(content=b"x")), _REFUSED),
    ("a layer with an absolute name", _with("/escaped", File(content=b"x")), _REFUSED),
    ("a hard link out", _with("x", File(kind=_HARD, link="../../etc/shadow")), _REFUSED),
    ("a device", _with("dev/mem", File(kind=_DEVICE)), _REFUSED),
    ("half a gigabyte of zeros", _bomb, _REFUSED),
    ("another configuration than its name", _other_config, _REFUSED),
    ("another layer than its digest", _other_layer, _REFUSED),
    ("two images", _two_images, _REFUSED),
    ("a layer out of the archive", _out_of_archive, _REFUSED),
    ("two names that differ in case", _ambiguous, _REFUSED),
    ("a link in the archive", _member("x", File(kind=_LINK, link="/etc/passwd")), _REFUSED | ENDED),
    ("a name twice", lambda: tar([*docker_members(_build()).items()] * 2), _REFUSED),
    ("another machine", lambda: docker_archive(_build(architecture="s390x")),
     codes("wrong_architecture")),
    ("a volume of its own", lambda: docker_archive(_build(run={"Volumes": {"/etc": {}}})),
     _REFUSED),
    ("a volume in other letters", lambda: docker_archive(_build(run={"volumes": {"/etc": {}}})),
     _REFUSED),
    ("half of it", lambda: docker_archive(_build())[:-50_000], _REFUSED),
    ("a gigabyte announced", _announced, _REFUSED),
)  # fmt: skip
_IMAGES: Final[tuple[tuple[str, Callable[[], bytes], str], ...]] = (
    ("root by its configuration", lambda: docker_archive(_build(run={"User": "0:0"})), "set-id"),
    ("a set-id program", lambda: image({"main": File(content=_main().content, mode=0o6755)}),
     "set-id"),
    ("/tmp as a link to /data", lambda: image(
        {"main": _main(), "link": File(kind=_LINK, link="/data")}), "write-data"),
    ("a health check", lambda: docker_archive(
        _build(run={"Healthcheck": {"Test": ["CMD", "/main", "forks"], "Interval": 1000000}})),
     "descriptors"),
    ("ports and a signal to ignore", lambda: docker_archive(
        _build(run={"ExposedPorts": {"22/tcp": {}}, "StopSignal": "SIGCHLD"})), "sockets"),
)  # fmt: skip
