"""`atoll run PROGRAM`: the one-person path."""

import re
from pathlib import Path
from typing import Final

import click

from atoll.client.compose import STEP
from atoll.client.files import read_private
from atoll.client.profile import Profile
from atoll.client.results import check_receipt
from atoll.client.run import RunOutcome, RunSpec, require_runnable
from atoll.computation.manifest import JobLimits
from atoll.computation.network import Network
from atoll.computation.steps import StepLimits, WorkloadKind
from atoll.errors import InputError
from atoll.receipt.verify import MAX_FILE
from atoll.wire.messages import Tee
from atoll.wire.names import require_name
from atoll_cli.network_options import network_of
from atoll_cli.options import FILE, fresh_directory, json_option, key_option, pass_session
from atoll_cli.placement_options import placement, placement_options
from atoll_cli.remote import connected
from atoll_cli.running import run_job, show_outcome
from atoll_cli.session import Session
from atoll_cli.stopping import run_stoppable
from atoll_cli.trust import profile_appraiser

DEFAULT_OUT: Final = Path("atoll-results")
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DEFAULTS: Final = StepLimits()
_JOB: Final = JobLimits()
_HOUR_S: Final = 3600
_SLACK_S: Final = 600
_MAX_DEADLINE_S: Final = 2_592_000
_MIB: Final = 1 << 20


def _data(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, Path]:
    """`NAME=PATH` pairs with legal, different names and files that are there."""
    found: dict[str, Path] = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not equals:
            raise click.BadParameter(f"{value!r} is not NAME=PATH")
        try:
            require_name(name, "dataset")
        except InputError as error:
            raise click.BadParameter(error.message) from error
        if name.rpartition(".")[0] == STEP:
            raise click.BadParameter(f"{name!r} cannot name a dataset")
        if name in found:
            raise click.BadParameter(f"dataset {name!r} stands twice")
        try:
            with Path(path).open("rb"):
                found[name] = Path(path)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "not a path"
            raise click.BadParameter(f"dataset {name!r}: {path}: {why}") from error
    return found


def _env(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """`K=V` pairs with names that an environment can have."""
    found: dict[str, str] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not _ENV_NAME.fullmatch(name):
            raise click.BadParameter(
                f"{name[:40]!r}: want K=V with K of letters, digits and underscores"
            )
        found[name] = _unicode(text, f"the value of {name}")
    return found


def _arguments(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_unicode(value, "an argument") for value in values)


def _unicode(text: str, what: str) -> str:
    """`text`, unless it holds bytes of the command line that were no text."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise click.BadParameter(f"{what} is not valid UTF-8") from error
    return text


@click.command()
@click.argument("module", metavar="PROGRAM", type=FILE)
@click.option(
    "--kind",
    type=click.Choice([kind.value for kind in WorkloadKind]),
    default=WorkloadKind.WASM.value,
    show_default=True,
    help="What PROGRAM is: a WebAssembly module, an ELF file, a script or wheel, an image archive.",
)
@click.option(
    "--entry",
    metavar="MODULE[:FUNCTION]",
    default="",
    help="python: what to start in the bundle or wheel (default: PROGRAM is a script).",
)
@click.option(
    "--bundle",
    metavar="FILE",
    type=FILE,
    help="python: a zip or tar of wheels and a requirements.txt with their hashes.",
)
@click.option(
    "--data", metavar="NAME=PATH", multiple=True, callback=_data, help="A dataset, as /data/NAME."
)
@click.option(
    "--arg",
    "args",
    metavar="ARG",
    multiple=True,
    callback=_arguments,
    help="An argument; travels sealed.",
)
@click.option(
    "--env",
    metavar="K=V",
    multiple=True,
    callback=_env,
    help="An environment variable; travels sealed.",
)
@click.option(
    "--out",
    metavar="DIR",
    callback=fresh_directory,
    type=click.Path(file_okay=False, path_type=Path),
    help=f"Where the result goes (default: {DEFAULT_OUT}/JOB).",
)
@key_option
@click.option(
    "--tee",
    type=click.Choice([tee.value for tee in Tee]),
    help="Kind of enclave (default: the profile's).",
)
@click.option(
    "--after",
    metavar="RECEIPT",
    multiple=True,
    type=FILE,
    help="Chain: the new receipt will name this one.",
)
@click.option(
    "--wall-s",
    type=click.IntRange(1, 604_800),
    default=_DEFAULTS.wall_s,
    show_default=True,
    help="Seconds the guest may run.",
)
@click.option(
    "--memory-mib",
    type=click.IntRange(1, 4096),
    default=_DEFAULTS.memory_bytes // _MIB,
    show_default=True,
)
@click.option(
    "--fuel",
    type=click.IntRange(0, 1 << 52),
    default=_DEFAULTS.fuel,
    show_default=True,
    help="About one per instruction; 0: not counted.",
)
@click.option(
    "--output-mib",
    type=click.IntRange(0, 16_384),
    default=_DEFAULTS.output_bytes // _MIB,
    show_default=True,
)
@click.option(
    "--output-files",
    type=click.IntRange(0, 4096),
    default=_DEFAULTS.output_files,
    show_default=True,
)
@click.option(
    "--cpu-s",
    type=click.IntRange(0, 1 << 30),
    default=_DEFAULTS.cpu_s,
    show_default=True,
    help="Seconds on a processor, all processes together; 0: as --wall-s allows.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 4096),
    default=_DEFAULTS.processes,
    show_default=True,
    help="Processes and threads at once.",
)
@click.option(
    "--open-files",
    type=click.IntRange(16, 65_536),
    default=_DEFAULTS.open_files,
    show_default=True,
)
@click.option(
    "--scratch-mib",
    type=click.IntRange(0, 16_384),
    default=_DEFAULTS.scratch_bytes // _MIB,
    show_default=True,
    help="What fits below /tmp.",
)
@click.option(
    "--destination",
    "network",
    metavar="HOST:PORT",
    multiple=True,
    callback=network_of,
    help="Let the workload connect there, through its proxy; for the kinds binary and python. "
    "Repeatable (default: no network).",
)
@placement_options
@click.option(
    "--release-wait-s",
    type=click.IntRange(1, 604_800),
    default=_JOB.release_wait_ms // 1000,
    show_default=True,
    help="How long an enclave waits for our keys.",
)
@click.option(
    "--deadline-s",
    type=click.IntRange(1, _MAX_DEADLINE_S),
    help="When the job expires, whatever happens (default: an hour, or what the "
    "other limits need).",
)
@click.option("--verbose", is_flag=True, help="Show expected and actual value of every check.")
@json_option
@pass_session
def run(  # noqa: PLR0917 - click passes one parameter for each option
    session: Session,
    module: Path,
    kind: str,
    entry: str,
    bundle: Path | None,
    data: dict[str, Path],
    args: tuple[str, ...],
    env: dict[str, str],
    out: Path | None,
    key_name: str,
    tee: str | None,
    after: tuple[Path, ...],
    wall_s: int,
    memory_mib: int,
    fuel: int,
    output_mib: int,
    output_files: int,
    cpu_s: int,
    processes: int,
    open_files: int,
    scratch_mib: int,
    network: Network,
    host_memory_mib: int,
    host_cpus: int,
    host_labels: dict[str, str],
    dedicated: bool,  # noqa: FBT001
    release_wait_s: int,
    deadline_s: int | None,
    verbose: bool,  # noqa: FBT001
) -> None:
    """Run a program on sealed data and open its result.

    Makes and signs the manifest, uploads everything sealed, appraises the enclave's evidence
    here, releases the keys only if it passes, waits, opens the result and checks its receipt.
    The program reads /data/NAME and writes below /results. Interrupted, it cancels the job.

    Exit status: 0 the guest exited with 0; 1 anything else; --json has its `exit_code`.
    """
    needed_s = wall_s + release_wait_s + _SLACK_S
    limits = StepLimits(
        wall_s=wall_s,
        memory_bytes=memory_mib * _MIB,
        fuel=fuel,
        output_bytes=output_mib * _MIB,
        output_files=output_files,
        cpu_s=cpu_s,
        processes=processes,
        open_files=open_files,
        scratch_bytes=scratch_mib * _MIB,
    )
    job_limits = JobLimits(
        release_wait_ms=release_wait_s * 1000,
        deadline_ms=(deadline_s or min(max(_HOUR_S, needed_s), _MAX_DEADLINE_S)) * 1000,
    )

    def spec_for(profile: Profile) -> RunSpec:
        return RunSpec(
            module=module,
            kind=WorkloadKind(kind),
            entry=entry,
            bundle=bundle,
            data=data,
            args=args,
            env=env,
            limits=limits,
            job_limits=job_limits,
            tee=Tee(tee) if tee else profile.tee,
            previous=_previous(session, after, profile),
            network=network,
            placement=placement(
                host_memory_mib=host_memory_mib,
                host_cpus=host_cpus,
                host_labels=host_labels,
                dedicated=dedicated,
            ),
            out=out,
            default_out=DEFAULT_OUT,
        )

    # Not inside: nothing could interrupt a question there. A key is made only for what can run.
    store = session.keys()
    there = store.load(key_name) if key_name in store.names() else None

    async def work() -> RunOutcome:
        async with connected(session) as remote:
            spec = spec_for(remote.profile)
            require_runnable(spec)
            keys = there or store.load_or_new(key_name)
            return await run_job(session, remote, keys, spec, verbose=verbose)

    show_outcome(session, run_stoppable(work()))


def _previous(session: Session, files: tuple[Path, ...], profile: Profile) -> tuple[str, ...]:
    """Digests of the receipts to build on; each must hold under the profile's policy."""
    appraiser = profile_appraiser(session.home, profile)
    digests = [
        check_receipt(read_private(file, limit=MAX_FILE), appraiser).digest.hex() for file in files
    ]
    return tuple(dict.fromkeys(digests))
