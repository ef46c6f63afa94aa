"""Image sources by name. No torch."""

from __future__ import annotations

from pathlib import Path

from snapvit.data.archive import open_upload
from snapvit.data.fashion_mnist import BUNDLED, FashionMnist
from snapvit.data.folder import open_folder
from snapvit.data.image_source import Check, ImageSource, Role, go_on
from snapvit.data.joined import JoinedImages, Member
from snapvit.data.torchvision_sets import find_set, open_set
from snapvit.errors import InputError
from snapvit.paths import absolute, unquoted

FOLDER, TORCHVISION, UPLOAD = "folder:", "torchvision:", "upload:"


def canonical_name(name: str) -> str:
    """`name` in the one form that runs keep: a folder by its absolute path, a torchvision set as torchvision spells it.

    Quotes and blanks around a name or a path, as they come with pasting, are taken off.
    Raises InputError for what names no source; whether its images can be had is seen when it is opened.
    """
    name = unquoted(name)
    if name.startswith(FOLDER) and unquoted(name.removeprefix(FOLDER)):
        return FOLDER + str(absolute(name.removeprefix(FOLDER)))
    if name.startswith(TORCHVISION):
        return TORCHVISION + find_set(name.removeprefix(TORCHVISION)).name
    if name == BUNDLED or name.startswith(UPLOAD):
        return name
    raise InputError(
        f"There is no image source named {name!r}; the explorer knows bundled, folder:PATH and torchvision:NAME."
    )


def open_images(
    data: str,
    gallery: str | None = None,
    queries: str | None = None,
    cache: Path | None = None,
    check: Check = go_on,
) -> ImageSource:
    """One source of all images of a run, for `split_source`; `gallery` and `queries` are names as `data` is.

    Images of `data` do what no other source is named for: all, or calibration beside one of gallery and queries, or
    calibration alone. Naming a source twice divides it between its uses. Ids run through data, gallery and queries;
    classes are one where their names are. Raises InputError as `open_source` does, and where gallery or queries would
    be without labels.
    """
    named: dict[Role, str] = {"calibration": data, "gallery": gallery or data, "query": queries or data}
    uses: dict[str, list[Role]] = {}
    for role, name in named.items():
        uses.setdefault(canonical_name(name), []).append(role)
    if len(uses) == 1:
        return open_source(data, cache, check)
    members = []
    for name, roles in uses.items():
        source = open_source(name, cache, check)
        if source.labels is None and roles != ["calibration"]:
            part = "the gallery" if "gallery" in roles else "queries"
            raise InputError(
                f"{source.name} has no labels, so its images cannot be {part}; sort them into a folder for each class, "
                "or name other images."
            )
        members.append(Member(source, frozenset(roles), f"{source.name}/"))
    return JoinedImages(", ".join(f"{' and '.join(uses[name])} of {name}" for name in uses), members)


def open_source(name: str, cache: Path | None = None, check: Check = go_on) -> ImageSource:
    """Open what `name` says: `bundled`, `folder:PATH`, `torchvision:NAME`, or `upload:DIGEST`, which lies in `cache`.

    Raises InputError where there is no such source or its images cannot be had. Files that cannot be used are no
    error; they are in `skipped`, of a large set once they are asked for. `check` is called after each file that is read
    and may raise to stop.
    """
    name = canonical_name(name)
    if name.startswith(FOLDER):
        return open_folder(Path(name.removeprefix(FOLDER)), name, cache, check)
    if name.startswith(TORCHVISION):
        return open_set(name.removeprefix(TORCHVISION), name, cache, check)
    if name.startswith(UPLOAD):
        return open_upload(name, cache, check)
    return FashionMnist()
