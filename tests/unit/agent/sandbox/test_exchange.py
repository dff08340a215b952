"""Runner and worker: legal messages, or the one documented error."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import InputError, MessageError
from atoll.wire import codec, schema
from atoll_agent.sandbox.exchange import (
    MAX_ANSWER,
    MAX_DETAIL,
    Answer,
    Job,
    Variable,
    require_arguments,
)
from atoll_agent.sandbox.limits import MAX_ARGUMENTS_TOTAL, Limits
from atoll_agent.sandbox.outcome import Kind

ANSWER = Answer(kind=Kind.EXITED, exit_code=0, memory_bytes=65536, detail="")


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_an_answer_or_a_message_error(raw: bytes) -> None:
    try:
        answer = schema.decode(Answer, raw, limit=MAX_ANSWER)
    except MessageError:
        return
    assert isinstance(answer, Answer)


def test_every_truncation_of_an_answer_is_refused() -> None:
    raw = schema.encode(ANSWER)
    assert schema.decode(Answer, raw) == ANSWER
    for size in range(len(raw)):
        with pytest.raises(MessageError):
            schema.decode(Answer, raw[:size])


def test_the_longest_answer_fits_its_limit() -> None:
    longest = Answer(
        kind=Kind.UNSUPPORTED_IMPORT,
        exit_code=125,
        memory_bytes=1 << 40,
        detail="\U0001f3dd" * MAX_DETAIL,
    )
    assert schema.decode(Answer, schema.encode(longest), limit=MAX_ANSWER) == longest


@given(
    args=st.lists(st.text(max_size=50), max_size=10),
    env=st.dictionaries(st.text(max_size=5), st.text(max_size=50), max_size=5),
)
def test_arguments_are_refused_or_fit_a_job(args: list[str], env: dict[str, str]) -> None:
    try:
        require_arguments(tuple(args), env)
    except InputError:
        return
    job = _job(tuple(args), env)
    assert schema.decode(Job, schema.encode(job)) == job


def test_the_longest_arguments_fit_a_job() -> None:
    size = MAX_ARGUMENTS_TOTAL // 4
    args = ("\U0001f3dd" * size,) * 4
    require_arguments(args, {})
    raw = schema.encode(_job(args, {}))
    assert len(raw) < codec.MAX_MESSAGE
    assert schema.decode(Job, raw).args == args
    with pytest.raises(InputError):
        require_arguments((*args, "x"), {})


def test_a_refusal_does_not_quote_what_came_sealed() -> None:
    for args, env in ((("PLANTED\0",), {}), ((), {"PLANTED=": ""}), ((), {"A": "PLANTED\0"})):
        with pytest.raises(InputError) as caught:
            require_arguments(args, env)
        assert "PLANTED" not in str(caught.value)
        assert caught.value.code == "workload.arguments"


def _job(args: tuple[str, ...], env: dict[str, str]) -> Job:
    return Job(
        module="/m",
        data="/d",
        results="/r",
        stdout="/o",
        stderr="/e",
        args=args,
        env=tuple(Variable(name=name, value=value) for name, value in env.items()),
        limits=Limits(),
        parent=1,
    )
