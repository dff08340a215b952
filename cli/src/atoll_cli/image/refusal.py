"""How this package says no. Every code begins with `image.`."""

from atoll.errors import InputError


def refuse(what: str, why: str, *, hint: str | None = None) -> InputError:
    """An error with the code `image.<what>`."""
    return InputError(why, code=f"image.{what}", hint=hint)


def shown(name: object) -> str:
    """Something out of a foreign file, short and printable."""
    return ascii(name)[:100]
