"""How this package says no to an archive. Every code begins with `image.`."""

from atoll.errors import InputError


def refuse(what: str, why: str) -> InputError:
    """An error with the code `image.<what>`; the message may quote the archive."""
    return InputError(why, code=f"image.{what}")


def shown(name: bytes | str) -> str:
    """A name out of an archive, short and printable."""
    return ascii(name)[:100]
