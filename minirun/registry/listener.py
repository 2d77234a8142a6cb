"""Who is told how a pull or a push goes on; in Docker's words, since programs read them."""

from __future__ import annotations


class Listener:
    """Is told everything and does nothing; the face has one that shows it.

    The names of layers are the first digits of their digests, and may be those of several layers of an image.
    """

    def say(self, text: str) -> None:
        """One line about the whole."""

    def layer(self, name: str, state: str) -> None:
        """A layer is in another state: ``Pulling fs layer``, ``Already exists``, ``Pushed``."""

    def far(self, name: str, state: str, far_bytes: int, size_bytes: int) -> None:
        """A layer is somewhat further; called often."""
