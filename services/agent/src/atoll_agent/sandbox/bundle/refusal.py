"""How this package says no to a bundle. Every code begins with `bundle.`."""

from atoll.errors import InputError


def refuse(what: str, why: str) -> InputError:
    """An error with the code `bundle.<what>`; the message may quote the bundle."""
    return InputError(why, code=f"bundle.{what}")


def shown(name: str) -> str:
    """A name out of a bundle, short and printable."""
    return ascii(name)[:100]
