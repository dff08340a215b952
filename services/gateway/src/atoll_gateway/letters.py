"""What an operator may do with dead letters: list, show, redrive, drop."""

import logging
from datetime import datetime

from atoll.bus import Bus
from atoll.bus import dead_letter as dead
from atoll.bus.dead_letter import Letter
from atoll.bus.jetstream import publish
from atoll.errors import InputError, MessageError, NotFoundError, RefusedError
from atoll.wire import schema, subjects, topology
from atoll.wire.letters import (
    MAX_SHOWN,
    Header,
    LetterContents,
    LetterRequest,
    Letters,
    LettersRequest,
    LetterView,
    Redriven,
    RedriveRequest,
)
from atoll.wire.messages import Report, SpawnRequest
from atoll.wire.placement import consumer_of
from atoll_gateway.ledger import Ledger

_log = logging.getLogger(__name__)


class LetterDesk:
    """The operations of the endpoints `letters-*`."""

    def __init__(self, bus: Bus, ledger: Ledger) -> None:
        self._bus = bus
        self._ledger = ledger

    async def list(self, request: LettersRequest) -> Letters:
        """The oldest first."""
        found: list[LetterView] = []
        malformed: list[int] = []
        letters = dead.letters(self._bus, stream=request.stream, after=request.after)
        try:
            async for letter in letters:
                if len(found) + len(malformed) == request.limit:
                    return Letters(letters=tuple(found), more=True, malformed=tuple(malformed))
                if isinstance(letter, int):
                    malformed.append(letter)
                else:
                    found.append(view(letter))
        finally:
            await letters.aclose()
        return Letters(letters=tuple(found), more=False, malformed=tuple(malformed))

    async def show(self, request: LetterRequest) -> LetterContents:
        """Raises: NotFoundError `dead.not_found`."""
        letter = await self._find(request.id)
        headers = tuple(
            Header(name=name, value=value) for name, value in sorted(letter.headers.items())
        )
        return LetterContents(
            letter=view(letter), headers=headers, payload=letter.payload[:MAX_SHOWN]
        )

    async def redrive(self, request: RedriveRequest) -> Redriven:
        """Publish the message again where it was, then erase the letter.

        The new message id is made from the letter, so that a repetition, after a crash in
        the middle too, is one message as long as the queue remembers ids.

        Raises:
            NotFoundError: `dead.not_found`.
            RefusedError: `dead.incomplete`, `dead.no_such_queue`, both for good;
                `dead.reason_holds` unless forced; `bus.full`.
        """
        letter = await self._find(request.id)
        if letter.state != dead.WHOLE:
            raise RefusedError(
                f"of dead letter {letter.id} not all was kept ({letter.state})",
                code="dead.incomplete",
            )
        # The letter's headers may be another process's invention, and what is published
        # here is published with the gateway's rights: only where such a message belongs.
        stream = _home(letter)
        if not request.force:
            await self._require_hope(letter)
        ack = await publish(
            self._bus,
            letter.subject,
            letter.payload,
            msg_id=f"redrive.{letter.stream}.{letter.id}",
            headers=letter.headers,
            stream=stream,
        )
        await dead.discard(self._bus, letter.id)
        _log.warning(
            "dead letter %d went back to %s as message %d", letter.id, letter.stream, ack.seq
        )
        return Redriven(letter=view(letter), sequence=ack.seq)

    async def drop(self, request: LetterRequest) -> LetterView:
        """Erase a letter for good.

        Raises:
            NotFoundError: `dead.not_found`.
        """
        letter = await self._find(request.id)
        await dead.discard(self._bus, letter.id)
        _log.warning("dead letter %d of %s (%s) was dropped", letter.id, letter.stream, letter.code)
        return view(letter)

    async def _find(self, number: int) -> Letter:
        letter = await dead.letter_at(self._bus, number)
        if letter is None:
            raise NotFoundError(f"there is no dead letter {number}", code="dead.not_found")
        return letter

    async def _require_hope(self, letter: Letter) -> None:
        if letter.stream == topology.SPAWN.name:
            await self._require_startable(letter)
        else:
            await self._require_applicable(letter)

    async def _require_startable(self, letter: Letter) -> None:
        try:
            request = schema.decode(SpawnRequest, letter.payload)
            job = await self._ledger.get(request.job_id)
        except (MessageError, NotFoundError) as error:
            raise _hopeless(letter, error.message) from error
        if job.state.terminal:
            raise _hopeless(letter, f"job {job.job_id} is {job.state.value}; submit it anew")
        if job.attempt:
            # Delivery counts begin anew, and the ledger does not hear an older attempt.
            raise _hopeless(letter, f"job {job.job_id} is at attempt {job.attempt} already")

    async def _require_applicable(self, letter: Letter) -> None:
        try:
            report = schema.decode(Report, letter.payload)
            if subjects.REPORT.of(report.job_id) != letter.subject:
                raise MessageError(f"it came as {letter.subject}")
            await self._ledger.get(report.job_id)
        except (InputError, NotFoundError) as error:
            raise _hopeless(letter, error.message) from error


def _home(letter: Letter) -> str:
    """The queue that the letter's subject belongs to.

    Raises:
        RefusedError: `dead.no_such_queue`.
    """
    if letter.stream == topology.SPAWN.name:
        try:
            consumer_of(letter.subject)
        except InputError:
            pass
        else:
            return letter.stream
    if letter.stream == topology.REPORTS.name:
        try:
            subjects.REPORT.read(letter.subject)
        except InputError:
            pass
        else:
            return letter.stream
    raise RefusedError(
        f"dead letter {letter.id}: there is no queue {letter.stream} that takes "
        f"{letter.subject[:80]!r}",
        code="dead.no_such_queue",
    )


def _hopeless(letter: Letter, why: str) -> RefusedError:
    return RefusedError(
        f"dead letter {letter.id} would fail again: {why}", code="dead.reason_holds"
    )


def view(letter: Letter) -> LetterView:
    """As it is answered."""
    return LetterView(
        id=letter.id,
        stream=letter.stream,
        sequence=letter.sequence,
        subject=letter.subject,
        deliveries=letter.deliveries,
        reason=letter.code,
        text=letter.text,
        message_id=letter.message_id,
        stored_ms=_ms(letter.stored),
        buried_ms=_ms(letter.buried) if letter.buried else 0,
        size=letter.size,
        state=letter.state,
    )


def _ms(moment: datetime) -> int:
    return max(0, int(moment.timestamp() * 1000))
