"""The whole corpus, in the order in which it runs."""

from hostile import image_cases, native_cases, python_cases, wasm_cases
from hostile.case import Case


def corpus() -> tuple[Case, ...]:
    """Every hostile workload; each has a name of its own."""
    found = (
        *wasm_cases.cases(),
        *native_cases.cases(),
        *python_cases.cases(),
        *image_cases.cases(),
    )
    names = [case.id for case in found]
    if len(set(names)) != len(names):
        raise AssertionError("two cases have one name")
    return found
