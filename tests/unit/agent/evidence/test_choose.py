"""Which provider is taken, and that nothing becomes simulated by itself."""

from itertools import product

import pytest

from atoll.errors import ConfigError
from atoll.evidence.document import Tee
from atoll_agent.evidence import opening, sev_guest, tdx_guest
from atoll_agent.evidence.choose import WANTED, Choice, Offer, Source, choose
from atoll_agent.evidence.keystone import KeystoneProvider
from atoll_agent.evidence.looking import TPM, look
from atoll_agent.evidence.provider import Provider
from atoll_agent.evidence.sev_guest import SevGuestProvider
from atoll_agent.evidence.tdx_guest import TdxGuestProvider
from atoll_agent.evidence.tsm import TsmProvider
from support.kernel.configfs import ConfigFs, Driver
from support.kernel.machine import Device, Machine
from support.kernel.sev import SevGuest
from support.kernel.tdx import TdxGuest
from unit.agent.evidence.makers import report

ALL = Offer(tsm="sev_guest", sev_guest=True, tdx_guest=True, vtpm=True, device=True)


def taken(wanted: str, offer: Offer) -> Choice | None:
    """What is chosen, if anything is."""
    try:
        return choose(wanted, offer)
    except ConfigError as error:
        if error.code != "tee.missing":
            raise
        return None


def everything() -> list[Offer]:
    """Every combination of what there can be."""
    no_yes = (False, True)
    return [
        Offer(tsm=tsm, sev_guest=sev, tdx_guest=tdx, vtpm=tpm, device=device)
        for tsm in (None, "", "sev_guest", "tdx_guest", "arm_cca_guest")
        for sev, tdx, tpm, device in product(no_yes, repeat=4)
    ]


@pytest.mark.parametrize(
    ("wanted", "offer", "source"),
    [
        ("", ALL, Source.SIMULATED),
        ("auto", ALL, Source.TSM),
        ("auto", Offer(tsm="", sev_guest=True, tdx_guest=True, vtpm=True), Source.SEV_GUEST),
        ("auto", Offer(tdx_guest=True, vtpm=True), Source.TDX_GUEST),
        ("auto", Offer(tsm="arm_cca_guest", vtpm=True), Source.VTPM),
        ("", Offer(tsm="tdx_guest", tdx_guest=True), Source.TSM),
        ("sev-snp", ALL, Source.TSM),
        ("sev-snp", Offer(tsm="tdx_guest", sev_guest=True), Source.SEV_GUEST),
        ("tdx", ALL, Source.TDX_GUEST),
        ("tdx", Offer(tsm="tdx_guest", tdx_guest=True), Source.TSM),
        ("vtpm", ALL, Source.VTPM),
        ("keystone", Offer(), Source.KEYSTONE),
        ("simulated", ALL, Source.SIMULATED),
    ],
)
def test_the_first_that_fits_is_taken(wanted: str, offer: Offer, source: Source) -> None:
    choice = choose(wanted, offer)
    assert choice.source is source
    assert choice.reasons
    tee = {"sev_guest": Tee.SNP, "tdx_guest": Tee.TDX}.get(offer.tsm or "")
    assert choice.tee == (tee if source is Source.TSM else None)


@pytest.mark.parametrize("wanted", [name for name in WANTED if name != "simulated"])
def test_nothing_becomes_simulated_that_was_not_to_be(wanted: str) -> None:
    for offer in everything():
        choice = taken(wanted, offer)
        assert choice is None or choice.source is not Source.SIMULATED


def test_a_kind_is_never_swapped_for_another() -> None:
    for offer in everything():
        for wanted, other in (("sev-snp", Tee.TDX), ("tdx", Tee.SNP)):
            choice = taken(wanted, offer)
            assert choice is None or choice.tee is not other


def test_unset_is_simulated_exactly_if_a_device_was_handed_in() -> None:
    for offer in everything():
        choice = taken("", offer)
        assert (choice is not None and choice.source is Source.SIMULATED) == offer.device


def test_what_is_missing_is_listed() -> None:
    with pytest.raises(ConfigError) as caught:
        choose("auto", Offer(tsm=""))
    assert caught.value.code == "tee.missing"
    for text in ("configfs-tsm: no driver", "/dev/sev-guest: is not there", "vtpm"):
        assert text in caught.value.message


def test_a_simulated_device_must_have_been_handed_in() -> None:
    with pytest.raises(ConfigError, match="simulated: is not there"):
        choose("simulated", Offer(tsm="sev_guest"))


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        choose("sgx", ALL)
    assert caught.value.code == "tee.unknown"


def test_looking_finds_what_there_is_and_leaves_nothing() -> None:
    assert look(Machine()) == Offer()
    files = ConfigFs(driver=Driver("sev_guest", lambda data, _: (report(data), b"")))
    devices: dict[str, Device] = {sev_guest.DEVICE: SevGuest(report), tdx_guest.DEVICE: TdxGuest()}
    found = look(Machine(files=files, devices=devices, nodes={TPM}), device=True)
    assert found == ALL
    assert files.entries == {}
    assert look(Machine(files=ConfigFs())) == Offer(tsm="")


@pytest.mark.parametrize(
    ("wanted", "kind"),
    [
        ("auto", TsmProvider),
        ("sev-snp", TsmProvider),
        ("tdx", TdxGuestProvider),
        ("keystone", KeystoneProvider),
    ],
)
def test_the_chosen_one_is_opened(wanted: str, kind: type[Provider]) -> None:
    assert type(opening.hardware(choose(wanted, ALL), Machine())) is kind


def test_a_device_is_opened_where_there_is_no_configfs() -> None:
    choice = choose("auto", Offer(sev_guest=True))
    assert type(opening.hardware(choice, Machine())) is SevGuestProvider


def test_the_simulated_one_is_not_opened_by_the_kernel() -> None:
    with pytest.raises(ConfigError) as caught:
        opening.hardware(choose("simulated", ALL), Machine())
    assert caught.value.code == "tee.missing"
