"""The clips that every processor must cope with, and the whole engine on tiny models."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from processors.base import DecodedClip
from processors.engine import THREADS, Engine
from processors.profile import Profile, create_profile, load_profile, profile_names
from processors.reason.endpoint import Endpoint
from processors.tiny import build_tiny_models
from tests.processors.made_clips import RATE_HZ, face_frames, make_clip, noise, tone
from tests.processors.made_endpoint import EndpointServer, serving_endpoints, traces
from tests.processors.made_questions import FORM, Clock, made_engine


@pytest.fixture(scope="session")
def clips() -> dict[str, DecodedClip]:
    """The clips that every processor must cope with, by name; their arrays refuse to be written to."""
    random = np.random.default_rng(3)
    voice = (tone(150, 5, 0.2) + tone(300, 5, 0.1) + tone(450, 5, 0.05)) * np.repeat([1.0, 0.1] * 5, RATE_HZ // 2)
    texture = random.integers(0, 255, (8, 96, 128, 3), dtype=np.uint8)
    made = [
        make_clip("normal", face_frames(20, 10, 4), voice.astype(np.float32), motion=0.05),
        make_clip("black", np.zeros((20, 54, 96, 3), np.uint8), np.zeros(5 * RATE_HZ, np.float32), motion=0.0),
        make_clip("silent", texture, np.zeros(2 * RATE_HZ, np.float32), 2.0, motion=0.4),
        make_clip("no_sound", texture[:4], None, 1.0, motion=0.4),
        make_clip("one_frame", face_frames(1), tone(220, 1.0), 1.0),
        make_clip("faceless", texture, noise(2.0), 2.0, motion=0.01),
        make_clip("short", face_frames(4, 60), tone(440, 1.0), 1.0, motion=0.1),
        make_clip("minute_picture", texture[:4, :12, :16], tone(90, 1.0), 1.0, motion=0.1),
        make_clip("upright", np.ascontiguousarray(face_frames(4).transpose(0, 2, 1, 3)), noise(1.0), 1.0),
        make_clip("click", texture[:4], np.zeros(8, np.float32) + 0.5, 1.0, motion=np.array([0.0] * 10)),
    ]
    for clip in made:
        for array in (clip.frames_rgb, clip.frame_times_s, clip.audio, *(c.values for c in clip.curves.values())):
            if array is not None:
                array.setflags(write=False)
    return {clip.clip_id: clip for clip in made}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """As the engine bounds them: tests that call a processor themselves took ten times as long on busy cores."""
    torch.set_num_threads(THREADS)


OFFLINE_PROFILES = [name for name in profile_names() if name.startswith("tiny")] + ["measured"]
"""Those that need no download; the first is `tiny`, the whole of which is run."""


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models of the tiny profiles."""
    folder = tmp_path_factory.mktemp("models")
    for name in OFFLINE_PROFILES:
        build_tiny_models(folder, name)
    return folder


@pytest.fixture(scope="session")
def engines(models_folder: Path) -> dict[str, Engine]:
    """Profiles by name, loaded, in which every processor there is is run; see `once_each`."""
    engines = {profile.name: Engine(profile) for profile, _ in once_each(models_folder)}
    for engine in engines.values():
        engine.load()
    return engines


@pytest.fixture(scope="session")
def engine(engines: dict[str, Engine]) -> Engine:
    """The profile `tiny`, loaded."""
    return engines["tiny"]


def once_each(models_folder: Path | None = None) -> list[tuple[Profile, list[str]]]:
    """Profiles in which every processor that can be run offline is there, with the ids that no earlier one has.

    The first is `tiny` as it is, the others are cut down to those ids and the processors whose columns they read.
    """
    covered: set[str] = set()
    profiles = []
    for name in OFFLINE_PROFILES:
        whole = load_profile(name, models_folder)
        new = [processor.id for processor in whole.processors if processor.id not in covered]
        kept = set(new)
        for processor in reversed(whole.processors):
            if processor.id in kept:
                read = set(processor.reads.inputs)
                kept |= {giver.id for giver in whole.processors if read & {column.name for column in giver.columns}}
        needed = [processor for processor in whole.processors if processor.id in kept]
        profiles.append((create_profile(name, needed, models=whole.models), new))
        covered |= kept
    return profiles


# --- a server of chat completions, and engines that ask it --------------------------------------------------------


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[..., EndpointServer]]:
    """Makes servers (see `made_endpoint`)."""
    with serving_endpoints() as serving:
        yield serving


@pytest.fixture
def server(serve: Callable[..., EndpointServer]) -> EndpointServer:
    """One that answers with random traces."""
    return serve(traces(FORM.schema))


@pytest.fixture
def clock() -> Clock:
    """Time that passes only while somebody sleeps."""
    return Clock()


@pytest.fixture
def make(server: EndpointServer, clock: Clock) -> Callable[..., Endpoint]:
    """Makes engines that ask the server."""
    return partial(made_engine, server, clock)
