"""The provider that was chosen, ready to be asked."""

from atoll.errors import ConfigError
from atoll_agent.evidence.choose import Choice, Source
from atoll_agent.evidence.kernel import Kernel
from atoll_agent.evidence.keystone import KeystoneProvider
from atoll_agent.evidence.provider import Provider
from atoll_agent.evidence.sev_guest import SevGuestProvider
from atoll_agent.evidence.tdx_guest import TdxGuestProvider
from atoll_agent.evidence.tsm import TsmProvider


def hardware(choice: Choice, kernel: Kernel) -> Provider:
    """A provider that asks the kernel. The simulated one is opened by who was handed its device.

    Raises:
        ConfigError: `tee.missing`: this build has no provider for it.
    """
    match choice.source:
        case Source.TSM if choice.tee is not None:
            return TsmProvider(kernel, choice.tee)
        case Source.SEV_GUEST:
            return SevGuestProvider(kernel)
        case Source.TDX_GUEST:
            return TdxGuestProvider(kernel)
        case Source.KEYSTONE:
            return KeystoneProvider()
        case _:
            raise ConfigError(
                f"this build makes no evidence by {choice.source.value}", code="tee.missing"
            )
