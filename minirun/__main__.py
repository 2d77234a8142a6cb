"""`minirun`: the first line that runs, and the one place where refusals become text and exit codes."""

from __future__ import annotations

import os
import sys

from minirun.errors import MinirunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Run the command line of this process, and end it with Docker's exit code."""
    # Tearing the interpreter down would take milliseconds and do nothing that the kernel does not do.
    os._exit(answer())


def answer() -> int:
    """Run the command line of this process; its exit code."""
    code = 125
    try:
        _open_standard_descriptors()
        code = _command(sys.argv[1:])
        sys.stdout.flush()
    except MinirunError as error:
        code = error.exit_code
        _say(str(error))
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        code = 141  # whoever read our output has gone: what a program that does not catch SIGPIPE ends with
    except OSError as error:
        refusal = MinirunError(
            "go on", error, "if that is no fault of the host's, it is one of minirun's: MINIRUN_DEBUG=1 tells where"
        )
        _say(str(refusal))
        _debug()
    except Exception as error:  # noqa: BLE001 - the last line of defence: a user never sees a traceback
        _say(f"this is a fault of minirun's own: {type(error).__name__}: {error}\n  MINIRUN_DEBUG=1 tells where")
        _debug()
    return code


def _command(args: list[str]) -> int:
    if args and args[0] in ("load", "save", "commit"):
        from minirun.cli import direct

        code = direct.answer(args[0], args[1:])
        if code is not None:
            return code
    if args and args[0] in ("start", "stop", "restart", "kill", "wait", "rm"):
        from minirun.cli import named

        code = named.answer(args[0], args[1:])
        if code is not None:
            return code
    if args[:1] in (["run"], ["exec"]):
        from minirun.cli import fast

        code = fast.run(args[1:]) if args[0] == "run" else fast.execute(args[1:])
        if code is not None:
            return code
    if args[:1] == ["ps"]:
        from minirun.cli import fast

        code = fast.ps(args[1:])
        if code is not None:
            return code
    import gc

    from minirun.cli import app

    gc.enable()  # the launcher turned it off for the sake of these
    return app.main(args)


def _open_standard_descriptors() -> None:
    # A caller may have closed 0, 1 or 2; the next file that is opened becomes one of them, and would go into a
    # container. The first such file is the launcher itself: a number that is open by now may be none of the caller's.
    for place, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open("/dev/null", os.O_RDWR)
            if descriptor != place:
                os.dup2(descriptor, place)
                os.close(descriptor)
            os.set_inheritable(place, True)
            setattr(sys, name, open(place, "w" if place else "r", closefd=False))  # noqa: SIM115 - as long as we live


def _say(text: str) -> None:
    try:
        sys.stdout.flush()
        if sys.stderr.isatty():
            from minirun.cli.screen import clean

            text = clean(text, keep="\n")  # a name from a layer may hold what moves the cursor
        sys.stderr.write(f"minirun: {text}\n")
        sys.stderr.flush()
    except OSError:
        pass  # nobody listens


def _debug() -> None:
    if os.environ.get("MINIRUN_DEBUG"):
        import traceback

        traceback.print_exc()


if __name__ == "__main__":
    main()
