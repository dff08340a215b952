"""Signing a CoRIM with a key of the keystore."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from atoll.corim.codec import to_cbor
from atoll.corim.signed import SignedCorim, sign_corim
from atoll.corim.values import Corim
from atoll.errors import InputError
from atoll.sealing.imported_key import ImportedKey
from atoll_cli.session import Session


def written(
    session: Session, corim: Corim, key_name: str | None
) -> tuple[bytes, SignedCorim | None]:
    """The file's bytes, and the signature if a key is named. Its fingerprint is the key id.

    Raises:
        InputError: `key.unsupported`: it signs in another way than Ed25519; as `Keys.load`.
    """
    if key_name is None:
        return to_cbor(corim), None
    mine = session.keys().load(key_name)
    if isinstance(mine.signing, ImportedKey):
        raise InputError(
            f"{mine.name!r} signs with {mine.public.algorithm}, and a CoRIM wants Ed25519",
            code="key.unsupported",
            hint="`atoll keys new` makes such a key",
        )
    key = Ed25519PrivateKey.from_private_bytes(mine.signing.seed)
    kid = mine.public.fingerprint.encode()
    raw = sign_corim(corim, key, kid=kid, signer=mine.name)
    return raw, SignedCorim(corim=corim, signer=mine.name, kid=kid)
