"""The command line of `attest verify` and `explain`: evidence, and what it is judged by."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from atoll.errors import InputError
from atoll.evidence import judge as judging
from atoll.evidence.products import Product
from atoll_cli.options import FILE

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceOptions:
    """What the command line says, before any of it was read."""

    evidence: Path
    kind: str
    product: str | None
    certs: tuple[Path, ...]
    crls: tuple[Path, ...]
    collateral: Path | None
    event_log: Path | None
    roots: tuple[Path, ...]
    extra: tuple[tuple[str, Path], ...]
    params: tuple[tuple[str, str], ...]
    policy: Path | None
    owners: tuple[Path, ...]
    threshold: int
    report_data: bytes | None
    measurement: bytes | None
    now: datetime


def _kind(context: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        return judging.kind_of(value)
    except InputError as error:
        raise click.BadParameter(error.message, ctx=context, param=parameter) from error


def _hex(context: click.Context, parameter: click.Parameter, value: str | None) -> bytes | None:
    if value is None:
        return None
    try:
        return bytes.fromhex(value)
    except ValueError as error:
        raise click.BadParameter("want hex digits", ctx=context, param=parameter) from error


def _moment(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime:
    if value is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None or "T" not in value.upper():
            raise ValueError("no time zone")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            "want a time such as 2026-01-31T12:00:00Z", ctx=context, param=parameter
        ) from error


def _pairs(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    pairs = [value.partition("=") for value in values]
    if not all(name and middle for name, middle, _ in pairs):
        raise click.BadParameter("want NAME=VALUE", ctx=context, param=parameter)
    return tuple((name, value) for name, _, value in pairs)


def _files(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, Path], ...]:
    pairs = _pairs(context, parameter, values)
    return tuple((name, FILE.convert(value, parameter, context)) for name, value in pairs)


kind_option: Final = click.option(
    "--kind",
    metavar="KIND",
    required=True,
    callback=_kind,
    help="snp, tdx, keystone, or a kind of the vectors' manifest.",
)
_OPTIONS: Final = (
    click.argument("evidence", type=FILE),
    kind_option,
    click.option(
        "--product",
        type=click.Choice([item.value for item in Product], case_sensitive=False),
        help="The product line that it must be of (SEV-SNP).",
    ),
    click.option(
        "--certs",
        multiple=True,
        type=FILE,
        help="Certificates, PEM or DER, in any order, several in a file.",
    ),
    click.option("--crl", "crls", multiple=True, type=FILE, help="Revocation list, PEM or DER."),
    click.option("--collateral", type=FILE, help="Intel's collateral in one JSON file."),
    click.option("--event-log", type=FILE, help="CCEL or JSON log that the RTMRs follow from."),
    click.option(
        "--root",
        "roots",
        multiple=True,
        type=FILE,
        help="Trust this root certificate too, or this device key for Keystone.",
    ),
    click.option(
        "--with",
        "extra",
        metavar="ROLE=FILE",
        multiple=True,
        callback=_files,
        help="Any other file of a kind, by the role that the vectors' manifest gives it.",
    ),
    click.option(
        "--param",
        "params",
        metavar="NAME=VALUE",
        multiple=True,
        callback=_pairs,
        help="A parameter of the kind, such as vcpus=4.",
    ),
    click.option(
        "--policy",
        type=FILE,
        help="What the evidence must say, as JSON: requirements, a policy, or a policy document, "
        "signed or not.",
    ),
    click.option(
        "--owner",
        "owners",
        metavar="FILE",
        type=FILE,
        multiple=True,
        help="Public file of a party that must have signed the policy document. Without it, "
        "signatures are not checked, and the output says so.",
    ),
    click.option(
        "--threshold",
        type=click.IntRange(1, 16),
        default=1,
        show_default=True,
        help="How many of the owners must have signed.",
    ),
    click.option("--report-data", metavar="HEX", callback=_hex, help="What REPORT_DATA must be."),
    click.option("--measurement", metavar="HEX", callback=_hex, help="What must have launched."),
    click.option(
        "--at", "now", metavar="RFC3339", callback=_moment, help="Judge as of then (default: now)."
    ),
)


def evidence_options(command: F) -> F:
    """The argument and options that `verify` and `explain` share; see `EvidenceOptions`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
