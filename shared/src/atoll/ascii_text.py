"""Text from elsewhere as what a header, a record or a log line can hold."""


def printable(text: str, size: int) -> str:
    """The first `size` characters of `text`, what is not printable ASCII as `?`: one line."""
    return "".join(char if " " <= char <= "~" else "?" for char in text[:size])
