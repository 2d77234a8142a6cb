"""Find one image of 10,000, in the process: by name, by id, by the beginning of its id, by a digest.

`sudo .venv/bin/python -m bench.finding [DIRECTORY]` prints what docs/decisions/0027-ids-on-shelves.md has. The store
has records only, and is made below DIRECTORY, /var/tmp by default.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from minirun.home import Home
from minirun.image.config import Config
from minirun.image.store import Image, Images
from minirun.kernel import jsonfile

IMAGES = 10_000
SAMPLE = 97  # every so manieth is looked for


def stock(home: Home) -> list[Image]:
    """Make the records of images with ten layers and a name each."""
    made = []
    for number in range(IMAGES):
        history = [{"created_by": f"RUN step {step} of {number}"} for step in range(10)]
        raw = {"os": "linux", "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]}, "history": history}
        image_id, digest = (sha256(f"{word} {number}".encode()).hexdigest() for word in ("image", "manifest"))
        image = Image(
            Config(raw), ["b" * 64] * 10, id=image_id, digest=f"sha256:{digest}",
            repo_digests=[f"localhost:5000/app@sha256:{digest}"],
        )  # fmt: skip
        Path(home.image(image_id)).write_text(jsonfile.dumps(image.record()))
        Path(home.folder("tags"), f"app:{number}").symlink_to(f"../images/{image_id}.json")
        made.append(image)
    return made


def measure(images: Images, made: list[Image], name: Callable[[int], str]) -> tuple[float, float]:
    """Median and worst time in ms to find each of a sample by what *name* calls it."""
    times = []
    for number in range(0, IMAGES, SAMPLE):
        text = name(number)
        begun = time.perf_counter()
        found = images.get(text)
        times.append((time.perf_counter() - begun) * 1e3)
        assert found.id == made[number].id
    return statistics.median(times), max(times)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else "/var/tmp") as place:  # noqa: S108 - a disk
        home = Home(f"{place}/root", f"{place}/runtime")
        home.create()
        made = stock(home)
        images = Images(home)
        begun = time.perf_counter()
        images.get(made[0].id[:12])
        print(f"the first time, when all are noted: {time.perf_counter() - begun:.1f} s")
        ways: dict[str, Callable[[int], str]] = {
            "name": lambda number: f"app:{number}",
            "id": lambda number: made[number].id,
            "12 digits of it": lambda number: made[number].id[:12],
            "7 digits of it": lambda number: made[number].id[:7],
            "digest": lambda number: f"app@{made[number].digest}",
        }
        for what, name in ways.items():
            median, worst = measure(images, made, name)
            print(f"| {what:15} | {median:7.3f} ms | worst {worst:7.3f} ms |")


if __name__ == "__main__":
    main()
