"""One stream of a session, as one side sees it. Pure."""

from dataclasses import dataclass, field

from atoll.channel.frames import MAX_DATA, WINDOW
from atoll.errors import MessageError


@dataclass(slots=True)
class Stream:
    """What may still pass, and how far each direction is."""

    number: int
    service: str
    may_send: int = WINDOW
    """Bytes of data that the other side takes now."""
    may_come: int = WINDOW
    """Bytes of data that we take now."""
    owed: int = 0
    """Bytes that were consumed and not yet credited."""
    waiting: bytearray = field(default_factory=bytearray)
    """What is to be sent."""
    ending: bool = False
    """We end behind what waits."""
    ended: bool = False
    """We sent our end."""
    over: bool = False
    """Their end came."""
    closed: bool = False
    """We sent our close."""
    gone: bool = False
    """Their close came."""

    def arrived(self, size: int) -> None:
        """Data came. Raises: MessageError `channel.credit`, `channel.state`."""
        if self.over or self.gone:
            raise MessageError(f"stream {self.number}: data after its end", code="channel.state")
        if size > self.may_come:
            raise MessageError(
                f"stream {self.number}: {size} bytes of data, credit for {self.may_come}",
                code="channel.credit",
            )
        self.may_come -= size

    def consumed(self, size: int) -> int:
        """Data was passed on; the credit to give now, 0 while it is not worth a frame."""
        self.owed += size
        if self.over or self.gone or self.closed or self.owed < WINDOW // 4:
            return 0
        given, self.owed = self.owed, 0
        self.may_come += given
        return given

    def credited(self, size: int) -> None:
        """Raises: MessageError `channel.credit`: more than was ever sent."""
        if self.may_send + size > WINDOW:
            raise MessageError(f"stream {self.number}: too much credit", code="channel.credit")
        self.may_send += size

    def take(self) -> bytes:
        """The next data to send; empty when nothing may be sent now."""
        size = min(len(self.waiting), self.may_send, MAX_DATA)
        piece = bytes(self.waiting[:size])
        del self.waiting[:size]
        self.may_send -= size
        return piece

    @property
    def has_work(self) -> bool:
        """Whether a frame can be made of it now."""
        if self.ended or self.closed:
            return False
        return self.ending if not self.waiting else self.may_send > 0
