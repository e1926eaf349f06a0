"""Which files of a folder are footage."""

from pathlib import Path

VIDEO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("3gp", "asf", "avi", "flv", "gif", "m2ts", "m4v", "mkv", "mov", "mp4"),
        *("mpeg", "mpg", "mts", "mxf", "ogv", "ts", "vob", "webm", "wmv"),
    )
)
"""Taken for footage in a folder; a file that is named itself is tried whatever its suffix."""


def is_footage(path: Path) -> bool:
    """Whether a file's name says that it is a video, and not a hidden or unfinished one."""
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")


def video_files(folder: Path) -> tuple[list[Path], int]:
    """(videos under a folder, at any depth, by name; number of other files); hidden files and folders are left out."""
    files = [path for path in sorted(folder.rglob("*")) if not _hidden(path, folder) and path.is_file()]
    videos = [path for path in files if is_footage(path)]
    return videos, len(files) - len(videos)


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
