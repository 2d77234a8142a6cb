"""Names for containers that were given none: an adjective and somebody who made computing what it is."""

from __future__ import annotations

import os

_ADJECTIVES = (
    "able agile amber ample bold brave bright brisk calm candid clear clever coral crisp daring deft eager early easy "
    "exact fair fine fleet fond frank fresh gentle glad golden grand handy happy honest humble ideal jolly keen kind "
    "lively lucid lucky mellow merry mild modest neat nimble noble open patient placid plain polite prime proud quick "
    "quiet rapid ready regal robust serene sharp shiny silent simple sleek smooth snug solid sound spry stable steady "
    "still stoic sturdy subtle sunny sure swift tidy tranquil trim true trusty upbeat useful vivid warm wise witty"
)
_PEOPLE = (
    "allen antonelli babbage backus bartik berners blum boole brooks cerf church clarke codd cook curry dahl diffie "
    "dijkstra easley engelbart euler feinler floyd franklin gauss goedel goldberg gosper gray hamilton hamming hellman "
    "hoare holberton hopper johnson kahn karp kay keller kernighan kleene knuth kowalski lamarr lamport lampson landin "
    "liskov lovelace mccarthy mcilroy meltzer milner minsky moore naur newell neumann noether nygaard perlis perlman "
    "postel rabin ritchie rivest scott shamir shannon simon snyder spence stearns steele sussman sutherland tarjan "
    "teitelbaum thompson torvalds turing ullman wilkes wilkinson wing wirth yao zuse"
)


def random_name() -> str:
    """A name such as ``swift_hopper``; it may be taken."""
    adjectives, people = _ADJECTIVES.split(), _PEOPLE.split()
    number = int.from_bytes(os.urandom(4), "little")
    return f"{adjectives[number % len(adjectives)]}_{people[(number >> 16) % len(people)]}"
