"""`atoll image reference`: what an image is known to measure, signed."""

from datetime import UTC
from pathlib import Path
from typing import Any, Final

import click

from atoll.client.files import read_private, write_private
from atoll.corim.values import Validity
from atoll.measure.guid_table import MAX_FIRMWARE
from atoll.measure.ovmf import Firmware
from atoll.measure.reference import MEMORY
from atoll.measure.snp_launch import MAX_VCPUS, Processors
from atoll.measure.tdvf import Tdvf
from atoll_cli.corim_show import corim_document, show_corim
from atoll_cli.corim_signing import written
from atoll_cli.image.reference import Machines, reference_values
from atoll_cli.launch_options import VcpuType, guest_features_option
from atoll_cli.options import FILE, json_option, key_option, pass_session, until_option
from atoll_cli.session import Session
from atoll_manager.config import MIN_GUEST_MIB
from atoll_manager.libvirt import image as guest_images
from atoll_manager.libvirt.domain import MAX_MEMORY_MIB

MIB: Final = 1 << 20
_FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)


class CountsType(click.ParamType[range]):
    """A number, or two with a dash between."""

    name = "counts"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> range:
        first, dash, last = str(value).partition("-")
        if not first.isascii() or not first.isdecimal() or (dash and not last.isdecimal()):
            self.fail("want N or N-M", param, ctx)
        counts = range(int(first[:6]), int((last or first)[:6]) + 1)
        if not counts or counts[0] < 1 or counts[-1] > MAX_VCPUS:
            self.fail(f"want 1 to {MAX_VCPUS}, the smaller first", param, ctx)
        return counts


@click.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@key_option
@click.option(
    "--out", "-o", metavar="DIR", type=_FOLDER, help="Where the files go. [beside the image]"
)
@click.option(
    "--memory",
    "memories",
    metavar="MIB",
    type=click.IntRange(MIN_GUEST_MIB, MAX_MEMORY_MIB),
    multiple=True,
    default=(MEMORY // MIB,),
    show_default=True,
    help="Of a machine; one from 2816 on stands for all from there on, and so does 2048.",
)
@click.option("--tdvf", metavar="FILE", type=FILE, help="Firmware of TDX guests.")
@click.option("--ovmf", metavar="FILE", type=FILE, help="Firmware of SEV-SNP guests.")
@click.option(
    "--vcpus",
    "counts",
    metavar="N|N-M",
    type=CountsType(),
    default="1-8",
    show_default=True,
    help="How many a SEV-SNP guest may have.",
)
@click.option(
    "--vcpu-type",
    "signatures",
    metavar="TYPE",
    type=VcpuType(),
    multiple=True,
    help="A SEV-SNP guest's; QEMU's model, as EPYC-v4, or its CPUID signature.",
)
@guest_features_option
@until_option
@json_option
@pass_session
def reference(session: Session, /, folder: Path, key_name: str, **options: Any) -> None:
    """Write what the image in DIR is known to measure, as signed CoRIMs.

    One file for each kind of machine: `reference-vtpm.corim`, and those whose firmware is named.
    `atoll policy new --corim` and `atoll policy corim import` take them.
    """
    checked = guest_images.check(folder)
    boot = guest_images.read(checked.boot)
    machines = _machines(**{name: options[name] for name in _MACHINE_OPTIONS})
    until = options["until"]
    validity = None if until is None else Validity(not_after=until.replace(tzinfo=UTC))
    wanted = {
        tee: (folder_of / f"reference-{tee.value}.corim", corim)
        for folder_of in (options["out"] or folder,)
        for tee, corim in reference_values(checked.described, boot, machines, validity).items()
    }
    shown: dict[str, Any] = {}
    for tee, (path, corim) in wanted.items():
        raw, signature = written(session, corim, key_name)
        write_private(path, raw, exclusive=True)
        session.say(f"wrote {path}, {len(raw)} bytes")
        shown[tee.value] = {"file": str(path), **corim_document(corim, signature)}
        if not session.as_json:
            show_corim(session, corim, signature)
    session.document({"image": checked.described.digest, "reference": shown})


_MACHINE_OPTIONS: Final = ("memories", "tdvf", "ovmf", "counts", "signatures", "guest_features")


def _machines(
    *,
    memories: tuple[int, ...],
    tdvf: Path | None,
    ovmf: Path | None,
    counts: range,
    signatures: tuple[int, ...],
    guest_features: int,
) -> Machines:
    if (ovmf is None) != (not signatures):
        raise click.UsageError("--ovmf and --vcpu-type go together: QEMU's type is measured")
    snp = None
    if ovmf is not None:
        firmware = Firmware.from_bytes(read_private(ovmf, limit=MAX_FIRMWARE))
        snp = (
            firmware,
            [
                Processors(count=count, signature=signature, guest_features=guest_features)
                for count in counts
                for signature in signatures
            ],
        )
    tdx = None if tdvf is None else Tdvf.from_bytes(read_private(tdvf, limit=MAX_FIRMWARE))
    return Machines(memories=[one * MIB for one in memories], snp=snp, tdx=tdx)
