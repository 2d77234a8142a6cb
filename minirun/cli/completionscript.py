"""How bash asks what could come next; zsh and fish ask as click has it.

    minirun rmi team/app:1.<TAB>     bash takes the colon for the end of a word, and wants what comes after it

So the line is sent as it was typed, up to the cursor, and what comes back is cut where bash cuts. click's own script
sends bash's words, in which no name of an image can be completed behind its colon.
"""

from __future__ import annotations

import os

from click.shell_completion import BashComplete, add_completion_class, split_arg_string

_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' typed="${COMP_LINE:0:COMP_POINT}" before= type value
    local word="${typed##*[[:space:]]}"
    # bash begins a new word behind a colon, and puts what we say there
    [[ $word == *:* && $COMP_WORDBREAKS == *:* ]] && before="${word%%"${word##*:}"}"
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            plain) COMPREPLY+=("${value#"$before"}") ;;
            file) compopt -o filenames; COMPREPLY+=($(compgen -f -- "${word#"$before"}")) ;;
            dir) compopt -o filenames; COMPREPLY+=($(compgen -d -- "${word#"$before"}")) ;;
        esac
    done < <(env COMP_WORDS="$typed" COMP_CWORD=line %(complete_var)s=bash_complete "$1" 2>/dev/null)
    # what wants something behind it is not followed by a blank
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[:=/] ]] && compopt -o nospace
    return 0
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class Bash(BashComplete):
    """bash, with the line as it was typed."""

    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The whole words before the cursor, and the beginning of one."""
        if os.environ.get("COMP_CWORD") != "line":
            return super().get_completion_args()
        typed = os.environ["COMP_WORDS"]
        words = split_arg_string(typed)
        begun = words.pop() if words and not typed[-1:].isspace() else ""
        return words[1:], begun


def register() -> None:
    """Have click use it."""
    add_completion_class(Bash)
