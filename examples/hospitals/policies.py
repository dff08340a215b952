"""What each hospital's releaser says yes to. Every field of a rule is written out.

north   this very program, this consumer, with these parties only, once
south   any program, but python, for this consumer, and at most 16 KiB of JSON
east    a program of a list, whoever asks, if the run is short and the results are small
"""

from typing import Final

from atoll.computation.releasing import ReleasePolicy, Rule
from atoll.computation.steps import WorkloadKind
from atoll.wire.messages import Tee

MAX_JSON: Final = 16 << 10
MAX_SMALL: Final = 1 << 20
SHORT_S: Final = 120


def north(program: str, consumer: str, parties: tuple[str, ...]) -> ReleasePolicy:
    """The strictest.

    Args:
        program: SHA-256 of what may see the data.
        consumer: the signing key, in hex, of who may get results.
        parties: signing keys of those who may be party to it.
    """
    return ReleasePolicy(
        rules=(
            Rule(
                assets=None,
                manifests=None,
                algorithms=(program,),
                kinds=(WorkloadKind.PYTHON,),
                consumers=(consumer,),
                parties=parties,
                max_output_bytes=MAX_JSON,
                media_types=("application/json",),
                max_wall_s=SHORT_S,
                allow_network=False,
                tees=(Tee.SIMULATED,),
                not_after=None,
                max_uses=1,
            ),
        )
    )


def south(consumer: str) -> ReleasePolicy:
    """Trusts the coder, and bounds what can leave."""
    return ReleasePolicy(
        rules=(
            Rule(
                assets=None,
                manifests=None,
                algorithms=None,
                kinds=(WorkloadKind.PYTHON,),
                consumers=(consumer,),
                parties=None,
                max_output_bytes=MAX_JSON,
                media_types=("application/json",),
                max_wall_s=None,
                allow_network=False,
                tees=(Tee.SIMULATED,),
                not_after=None,
                max_uses=None,
            ),
        )
    )


def east(programs: tuple[str, ...]) -> ReleasePolicy:
    """Trusts what its own people have read."""
    return ReleasePolicy(
        rules=(
            Rule(
                assets=None,
                manifests=None,
                algorithms=programs,
                kinds=None,
                consumers=None,
                parties=None,
                max_output_bytes=MAX_SMALL,
                media_types=None,
                max_wall_s=SHORT_S,
                allow_network=False,
                tees=(Tee.SIMULATED,),
                not_after=None,
                max_uses=10,
            ),
        )
    )
