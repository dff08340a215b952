"""The provider that was chosen, ready to be asked."""

from typing import Final

from atoll.errors import ConfigError, InputError
from atoll.evidence.document import Tee
from atoll.measure.launch_settings import LaunchSettings
from atoll_agent.evidence.choose import Choice, Source
from atoll_agent.evidence.kernel import Kernel
from atoll_agent.evidence.keystone import KeystoneProvider
from atoll_agent.evidence.provider import Provider, SettingsBound
from atoll_agent.evidence.sev_guest import SevGuestProvider
from atoll_agent.evidence.tdx_guest import TdxGuestProvider
from atoll_agent.evidence.tsm import TsmProvider
from atoll_agent.evidence.vtpm import VtpmProvider

BOUND: Final = frozenset({Tee.SNP, Tee.TDX})
"""Whose reports say what a launch was made for. A vTPM has no such field."""


def bound(choice: Choice, kernel: Kernel, vtpm_chain: bytes, launch_settings: str) -> Provider:
    """`hardware`, which gives evidence only of a launch that names our settings, where we know them
    and the hardware has a place for them.

    Args:
        choice, kernel, vtpm_chain: as of `hardware`.
        launch_settings: what our first process says of them; empty: it is not ours.

    Raises:
        ConfigError: as `hardware`; `config.invalid`: `launch_settings` is something else.
        EvidenceError: as `hardware`.
    """
    provider = hardware(choice, kernel, vtpm_chain)
    if not launch_settings:
        return provider
    try:
        settings = LaunchSettings.from_text(launch_settings)
    except InputError as error:
        raise ConfigError(error.message, code="config.invalid") from error
    return SettingsBound(provider, settings) if provider.tee in BOUND else provider


def hardware(choice: Choice, kernel: Kernel, vtpm_chain: bytes = b"") -> Provider:
    """A provider that asks the kernel. The simulated one is opened by who was handed its device.

    Args:
        choice: what was chosen.
        kernel: that we run on.
        vtpm_chain: the certificates of the vTPM's attestation key, PEM.

    Raises:
        ConfigError: `tee.missing`: this build has no provider for it; `vtpm.no_certificate`.
        EvidenceError: `vtpm_chain` is no PEM.
    """
    match choice.source:
        case Source.TSM if choice.tee is not None:
            return TsmProvider(kernel, choice.tee)
        case Source.SEV_GUEST:
            return SevGuestProvider(kernel)
        case Source.TDX_GUEST:
            return TdxGuestProvider(kernel)
        case Source.VTPM if vtpm_chain:
            return VtpmProvider.of_this_machine((vtpm_chain,))
        case Source.VTPM:
            raise ConfigError(
                "the host gave no certificate for the key of its vTPM",
                code="vtpm.no_certificate",
            )
        case Source.KEYSTONE:
            return KeystoneProvider()
        case _:
            raise ConfigError(
                f"this build makes no evidence by {choice.source.value}", code="tee.missing"
            )
