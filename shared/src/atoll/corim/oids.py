"""OIDs as CoRIM has them: the content octets of X.690, without tag and length (RFC 9090)."""

from atoll.corim.values import Oid, invalid


def oid_to_ber(text: str) -> bytes:
    """The content octets of an OID (X.690, section 8.19), as RFC 9090 wants them."""
    first, second, *rest = (int(part) for part in text.split("."))
    out = bytearray()
    for arc in (first * 40 + second, *rest):
        octets = [arc & 0x7F]
        while arc := arc >> 7:
            octets.append(0x80 | arc & 0x7F)
        out += bytes(reversed(octets))
    return bytes(out)


def oid_from_ber(raw: bytes) -> Oid:
    """The inverse of `oid_to_ber`. Raises: InputError."""
    arcs: list[int] = []
    arc = 0
    for octet in raw:
        arc = arc << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(arc)
            arc = 0
    if not arcs:
        raise invalid("has an OID that does not end")
    first = min(arcs[0] // 40, 2)
    oid = Oid(text=".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:]))))
    if oid_to_ber(oid.text) != raw:
        raise invalid("has an OID with padding, or one that does not end")
    return oid
