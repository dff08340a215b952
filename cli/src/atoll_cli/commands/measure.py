"""`atoll measure snp`: the measurement that a guest will have, before it is launched."""

from typing import Any

import click

from atoll_cli.launch_options import LaunchOptions, launch_options, measured
from atoll_cli.options import json_option, pass_session
from atoll_cli.session import Session


@click.group()
def measure() -> None:
    """Expected measurements, so that a policy can say which image."""


@measure.command()
@launch_options(required=True)
@json_option
@pass_session
def snp(session: Session, /, **options: Any) -> None:
    """Print the MEASUREMENT that a SEV-SNP guest will report.

    It depends on the firmware, the kernel with all that it is given, the number and type
    of vCPUs, the hypervisor and the features that the host's kernel sets.
    `atoll policy new` takes the same options and accepts it.
    """
    given = LaunchOptions(**options)
    launch = measured(given)
    hashes, signature = launch.hashes, given.signature
    session.print(launch.digest.hex())
    session.document(
        {
            "measurement": launch.digest.hex(),
            "firmware_digest": launch.firmware_digest.hex(),
            "vmm": given.vmm,
            "vcpus": given.vcpus,
            "vcpu_signature": None if signature is None else f"0x{signature:08x}",
            "guest_features": hex(given.guest_features),
            "kernel_sha256": hashes.kernel.hex() if hashes else None,
            "initrd_sha256": hashes.initrd.hex() if hashes else None,
            "cmdline_sha256": hashes.cmdline.hex() if hashes else None,
        }
    )
