"""`atoll doctor`."""

import click

from atoll_cli.doctor import Health, local_checks, stack_checks
from atoll_cli.options import json_option, pass_session
from atoll_cli.session import Session
from atoll_cli.stopping import run_stoppable
from atoll_cli.text import painted, printable

_STYLE = {Health.OK: "32", Health.OFF: "36", Health.WARN: "33", Health.FAIL: "1;31"}


@click.command()
@json_option
@pass_session
def doctor(session: Session) -> int:
    """Check this environment, and the stack if there is one.

    Exit status 1 if something here must be mended before Atoll works. A stack that is not
    running is no fault.
    """
    checks = [*local_checks(session), *run_stoppable(stack_checks(session))]
    width = max(len(check.name) for check in checks)
    for check in checks:
        mark = painted(f"{check.health.value:<5}", _STYLE[check.health], color=session.color_out)
        session.print(f"{mark} {check.name:<{width}}  {printable(check.detail)}")
        if check.hint:
            session.print(f"      {'':<{width}}  hint: {printable(check.hint)}")
    usable = all(check.health is not Health.FAIL for check in checks)
    session.document(
        {
            "usable": usable,
            "checks": [
                {
                    "name": check.name,
                    "status": check.health.value,
                    "detail": check.detail,
                    "hint": check.hint,
                }
                for check in checks
            ],
        }
    )
    return 0 if usable else 1
