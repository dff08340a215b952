"""`atoll policy corim show|import|export`: reference values as CoRIM."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from atoll.client.files import read_private, write_private
from atoll.corim.codec import from_cbor
from atoll.corim.keystone import device_keys
from atoll.corim.policies import from_policy, into_policy, merged, tee_of
from atoll.corim.signed import (
    MAX_SIGNED,
    SignedCorim,
    is_signed,
    read_signed,
    require_valid,
    verify_corim,
)
from atoll.corim.values import Corim, Validity
from atoll.cose import PublicKey
from atoll.errors import InputError
from atoll.evidence.document import Tee
from atoll.policy.document import PolicyDocument
from atoll_cli import policy_show
from atoll_cli.corim_show import corim_document, show_corim
from atoll_cli.corim_signing import written
from atoll_cli.options import (
    FILE,
    KEY_NAME,
    json_option,
    pass_session,
    passphrase_file_option,
    until_option,
)
from atoll_cli.policy_files import pretty, read_policy, read_public_key
from atoll_cli.session import Session

_OUTPUT: Final = click.Path(dir_okay=False, writable=True, path_type=Path)
_OTHER_KEY: Final = frozenset({"cose.key", "cose.signature"})
_keys_option: Final = click.option(
    "--key",
    "keys",
    metavar="FILE",
    type=FILE,
    multiple=True,
    help="Public key of a signer: PEM, or the public file of a party. Repeatable.",
)
_output_option: Final = click.option(
    "--output", "--out", "-o", required=True, type=_OUTPUT, help="The file to write."
)


@click.group()
def corim() -> None:
    """Reference values as CoRIM: what an image is known to measure, and who says so."""


@corim.command()
@click.argument("file", type=FILE)
@_keys_option
@json_option
@pass_session
def show(session: Session, file: Path, keys: tuple[Path, ...]) -> None:
    """Show the CoRIM FILE. Without --key, its signature is not checked, and neither are dates."""
    raw = read_private(file, limit=MAX_SIGNED)
    if keys:
        signed = _verified(file, raw, [read_public_key(path) for path in keys])
        show_corim(session, signed.corim, signed)
    elif is_signed(raw):
        claimed = read_signed(raw)
        show_corim(session, claimed.corim, claimed)
    else:
        show_corim(session, from_cbor(raw), None)


@corim.command(name="import")
@click.argument("files", metavar="FILE...", type=FILE, nargs=-1, required=True)
@_keys_option
@click.option("--unsigned", is_flag=True, help="Take unsigned files; you know where they are from.")
@click.option(
    "--into", required=True, metavar="POLICY", type=FILE, help="The document to start from."
)
@_output_option
@json_option
@pass_session
def import_(  # noqa: PLR0917 - click passes one parameter for each option
    session: Session,
    files: tuple[Path, ...],
    keys: tuple[Path, ...],
    unsigned: bool,  # noqa: FBT001
    into: Path,
    output: Path,
) -> None:
    """Put the reference values of FILE... into POLICY, as its next version, unsigned.

    They replace those that POLICY has for the same fields; the rest stays. Several files of one
    TEE are taken together. All of them are taken or, if one cannot be, none.
    """
    if unsigned == bool(keys):
        raise click.UsageError("want either --key (of the signers) or --unsigned")
    known = [read_public_key(path) for path in keys]
    read = [_read(path, known) for path in files]
    document = _with(read_policy(into)[0], _by_tee(read))
    write_private(output, pretty(document), exclusive=True)
    for item in read:
        if tee_of(item) is Tee.KEYSTONE:
            for key in sorted(device_keys(item)):
                session.say(f"not taken, since a policy has no device keys: {key.hex()}")
    session.say(f"wrote {output}; next: atoll policy diff, then sign, then activate")
    policy_show.show_document(session, document, None)


@corim.command()
@click.argument("policy", metavar="POLICY", type=FILE)
@click.option("--tee", type=click.Choice([tee.value for tee in Tee]), help="Which section.")
@click.option("--key", "key_name", type=KEY_NAME, help="Sign with this key of yours.")
@click.option("--id", "corim_id", metavar="TEXT", help="Default: name, version and TEE.")
@until_option
@_output_option
@passphrase_file_option
@json_option
@pass_session
def export(  # noqa: PLR0917 - click passes one parameter for each option
    session: Session,
    policy: Path,
    tee: str | None,
    key_name: str | None,
    corim_id: str | None,
    until: datetime | None,
    output: Path,
) -> None:
    """Write the reference values of a section of POLICY, signed if there is --key."""
    document, _ = read_policy(policy)
    if tee is None:
        if len(document.sections) != 1:
            raise click.UsageError(f"{policy} has several sections or none; name one with --tee")
        (tee,) = document.sections
    if tee not in document.sections:
        raise _no_section(document, tee)
    name = corim_id or f"{document.name}/{document.version}/{tee}"
    validity = None if until is None else Validity(not_after=until.replace(tzinfo=UTC))
    made = from_policy(document.sections[tee], corim_id=name, tag_id=name, validity=validity)
    raw, signature = written(session, made.corim, key_name)
    write_private(output, raw, exclusive=True)
    session.say(f"wrote {output}, {len(raw)} bytes, {'signed' if signature else 'unsigned'}")
    if made.left_out:
        session.say(f"checked by the policy, but not in it: {', '.join(made.left_out)}")
    if session.as_json:
        shown = corim_document(made.corim, signature)
        session.document({**shown, "left_out": list(made.left_out)})
    else:
        show_corim(session, made.corim, signature)


def _read(path: Path, keys: list[PublicKey]) -> Corim:
    raw = read_private(path, limit=MAX_SIGNED)
    if keys:
        return _verified(path, raw, keys).corim
    if is_signed(raw):
        raise InputError(
            f"{path} is signed, and --unsigned would not check by whom",
            code="corim.signed",
            hint="give the signer's public key with --key",
        )
    found = from_cbor(raw)
    require_valid(found, datetime.now(UTC))
    return found


def _verified(path: Path, raw: bytes, keys: list[PublicKey]) -> SignedCorim:
    """Under any of the keys; they are given for their owners, so key ids choose nothing."""
    if not is_signed(raw):
        raise InputError(
            f"{path} is not signed, want a CoRIM signed by one of the keys", code="corim.unsigned"
        )
    kid, now = read_signed(raw).kid, datetime.now(UTC)
    refusal: InputError | None = None
    for key in keys:
        try:
            return verify_corim(raw, {kid: key}, now=now)
        except InputError as error:
            if error.code not in _OTHER_KEY:
                raise
            refusal = refusal or error
    raise InputError(
        f"{path} is signed by none of the keys that are given: {refusal}", code="cose.signature"
    ) from refusal


def _by_tee(corims: list[Corim]) -> dict[str, Corim]:
    grouped: dict[str, list[Corim]] = {}
    for item in corims:
        grouped.setdefault(tee_of(item).value, []).append(item)
    return {tee: merged(items) for tee, items in grouped.items()}


def _with(document: PolicyDocument, found: Mapping[str, Corim]) -> PolicyDocument:
    sections = dict(document.sections)
    for tee, item in found.items():
        if tee not in sections:
            raise _no_section(document, tee)
        sections[tee] = into_policy(item, sections[tee])
    return replace(document, version=document.version + 1, sections=sections)


def _no_section(document: PolicyDocument, tee: str) -> InputError:
    return InputError(
        f"the policy {document.name} has no section for {tee}, so it accepts none of it",
        code="policy.no_section",
        hint=f"atoll policy new {document.name} --tee {tee} --from FILE makes one",
    )
