"""The engine, on processors that a person can compute by hand."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from processors.engine import Engine, resampled, shrunk, thinned
from processors.profile import ModelLine, create_profile
from store.errors import ModelUnavailable
from store.records import Column
from tests.processors.made_clips import make_clip, tone


@dataclass(frozen=True)
class Options:
    factor: float = 1.0


class Fake(Processor):
    """Named by its class, as all of these live in one module."""

    version = 1
    reads = Reads()
    Options = Options
    columns = (Column(name="length", kind="float", low=0.0, high=100.0),)

    def __init__(self, options: Options | None = None) -> None:
        super().__init__(options or Options())
        self.batches: list[int] = []
        self.loads = 0

    @property
    def id(self) -> str:
        return f"fake.{type(self).__name__.lower()}"

    def load(self, device: str) -> None:
        self.loads += 1

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        self.batches.append(len(clips))
        return [{"length": clip.duration_s * self.options.factor} for clip in clips]


class Fussy(Fake):
    """Cannot bear clips longer than 9 s, and takes the whole batch down with it."""

    columns = (Column(name="fussy", kind="int"),)
    fault: ClassVar[Exception] = ValueError("longer than 9 s")

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        self.batches.append(len(clips))
        if any(clip.duration_s > 9 for clip in clips):
            raise self.fault
        return [{"fussy": 1} for _ in clips]


class Doubler(Fake):
    """Twice the length, where there is one."""

    reads = Reads(columns=("length",))
    columns = (Column(name="double", kind="float"),)

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [{"double": None if row["length"] is None else 2.0 * row["length"]} for row in inputs]


class Hoper(Fake):
    """The length, where somebody measures it."""

    reads = Reads(optional=("length",))
    columns = (Column(name="hoped", kind="json"),)

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [{"hoped": list(row.values())} for row in inputs]


class Looker(Fake):
    """What it is given to see and hear."""

    reads = Reads(frame_rate_hz=2.0, longest_px=32)
    columns = (Column(name="shape", kind="json"), Column(name="hears", kind="json"))

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [{"shape": clip.frames_rgb.shape, "hears": clip.audio is not None} for clip in clips]


class Listener(Fake):
    """How many samples it is given, and how many frames."""

    reads = Reads(audio_rate_hz=8_000)
    columns = (Column(name="samples", kind="json"), Column(name="frames", kind="int"))

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [{"samples": None if c.audio is None else len(c.audio), "frames": len(c.frames_rgb)} for c in clips]


class Hungry(Fake):
    """Memory holds three clips of it, and none that is longer than 9 s."""

    fault: ClassVar[Exception] = MemoryError("no room")

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        self.batches.append(len(clips))
        if len(clips) > 3 or any(clip.duration_s > 9 for clip in clips):
            raise self.fault
        return [{"length": float(clip.duration_s)} for clip in clips]


class Gone(Fake):
    """Its model is not on this machine."""

    def load(self, device: str) -> None:
        raise ModelUnavailable("no weights here; fetch them")

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        raise AssertionError("it was not loaded")


class Wrong(Fake):
    """Gives whatever it is told to give."""

    columns = (Column(name="wrong", kind="float", low=0.0, high=1.0),)

    def __init__(self, row: Row) -> None:
        super().__init__()
        self.row = row

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [dict(self.row) for _ in clips]


def run(processors: Sequence[Processor], *clips: DecodedClip) -> list[Any]:
    return Engine(create_profile("made", processors)).run(clips)


def seconds(*lengths: float) -> list[DecodedClip]:
    return [make_clip(f"clip{length:g}", duration_s=length) for length in lengths]


def test_each_clip_gets_its_own_values() -> None:
    results = run([Fake()], *seconds(3, 1, 2))
    assert [(r.clip_id, r.values) for r in results] == [
        ("clip3", {"length": 3.0}),
        ("clip1", {"length": 1.0}),
        ("clip2", {"length": 2.0}),
    ]


def test_no_batch_is_larger_than_the_processor_takes() -> None:
    fake = Fake()
    run([fake], *(make_clip(str(index), duration_s=1.0) for index in range(35)))
    assert fake.batches == [16, 16, 3]


def test_a_clip_given_twice_is_measured_once() -> None:
    fake, (clip,) = Fake(), seconds(2)
    results = run([fake], clip, clip)
    assert [r.values["length"] for r in results] == [2.0, 2.0]
    assert fake.batches == [1]


def test_a_clip_that_breaks_a_batch_fails_alone() -> None:
    results = run([Fussy(), Fake()], *seconds(3, 10, 2))
    assert [r.values["fussy"] for r in results] == [1, None, 1]
    assert [r.values["length"] for r in results] == [3.0, 10.0, 2.0]
    assert [r.failed for r in results] == [{}, {"fake.fussy": "ValueError: longer than 9 s"}, {}]


def test_what_reads_a_failed_column_gets_none() -> None:
    class Refusing(Fake):
        def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
            return [Failed("no length today") for _ in clips]

    (result,) = run([Refusing(), Doubler()], *seconds(2))
    assert result.values == {"length": None, "double": None}
    assert result.failed == {"fake.refusing": "no length today"}


def test_a_missing_model_ends_the_run_instead_of_failing_clips() -> None:
    class Unloaded(Fussy):
        fault = ModelUnavailable("no weights")

    with pytest.raises(ModelUnavailable, match="no weights"):
        run([Unloaded()], *seconds(10))


@pytest.mark.parametrize(
    "fault",
    [
        MemoryError("no room"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        cv2.error("alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 16 bytes"),
        Fail("[ONNXRuntimeError] : 1 : FAIL : bfc_arena.cc:360 Failed to allocate memory for requested buffer"),
    ],
    ids=["python", "torch on a GPU", "torch on a CPU", "cudnn", "opencv", "onnxruntime"],
)
def test_a_batch_that_memory_does_not_hold_is_halved_and_the_size_remembered(fault: Exception) -> None:
    hungry = type("Hungry", (Hungry,), {"fault": fault})()
    clips = seconds(*(length / 10 for length in range(1, 13)))
    engine = Engine(create_profile("made", [hungry]))
    assert [r.values["length"] for r in engine.run(clips)] == [clip.duration_s for clip in clips]
    assert hungry.batches == [12, 6, 3, 3, 6, 3, 3]
    engine.run(clips)
    assert hungry.batches[7:] == [3, 3, 3, 3]


def test_a_clip_that_memory_never_holds_fails_alone() -> None:
    results = run([Hungry()], *seconds(1, 2, 10, 3))
    assert [r.values["length"] for r in results] == [1.0, 2.0, None, 3.0]
    assert results[2].failed == {"fake.hungry": "MemoryError: no room"}


def test_models_are_loaded_once() -> None:
    fake = Fake()
    engine = Engine(create_profile("made", [fake]))
    engine.load()
    engine.load()
    assert fake.loads == 1


def test_what_is_missing_is_told_of_all_at_once() -> None:
    other = type("Other", (Gone,), {"columns": (Column(name="other", kind="int"),)})()
    with pytest.raises(ModelUnavailable) as told:
        Engine(create_profile("made", [Gone(), other])).load()
    assert str(told.value).splitlines() == [
        "fake.gone: no weights here; fetch them",
        "fake.other: no weights here; fetch them",
    ]


def test_what_is_optional_and_missing_is_absent_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    profile = create_profile("made", [Gone(), Doubler()], optional=["fake.gone"])
    engine = Engine(profile)
    engine.load()
    engine.load()
    assert engine.absent == {"fake.gone": "no weights here; fetch them"}
    assert [record.message for record in caplog.records] == [
        "fake.gone is absent, as its profile allows; its columns stay empty: no weights here; fetch them"
    ]
    (result,) = engine.run(seconds(2))
    assert result.values == {"length": None, "double": None}
    assert result.failed == {"fake.gone": "absent: no weights here"}
    assert result.recipes["fake.gone"] == "absent"
    assert result.recipes["fake.doubler"] != Engine(create_profile("made", [Fake(), Doubler()])).recipes["fake.doubler"]


def test_a_file_that_is_not_the_one_whose_digest_the_profile_tells_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"weights")

    @dataclass(frozen=True)
    class FileOptions:
        model: str = str(tmp_path / "net.onnx")

    fake = Fake(FileOptions())  # type: ignore[arg-type]
    line = ModelLine("fake.fake", "https://host/net.onnx", None, None, "0" * 64, ("*.onnx",), False)
    with pytest.raises(ModelUnavailable, match="not the profile's 0000"):
        Engine(create_profile("made", [fake], models=[line])).load()
    assert fake.loads == 0
    line = replace(line, sha256=hashlib.sha256(b"weights").hexdigest())
    Engine(create_profile("made", [fake], models=[line])).load()
    assert fake.loads == 1


def test_the_observer_is_told_of_every_batch() -> None:
    told: list[tuple[str, int]] = []
    clips = [make_clip(str(index), duration_s=1.0) for index in range(18)]
    engine = Engine(create_profile("made", [Fake()]), timed=lambda name, n_clips, _: told.append((name, n_clips)))
    engine.run(clips)
    assert told == [("fake.fake", 16), ("fake.fake", 2)]


def test_half_precision_is_for_those_that_take_it_and_makes_another_recipe() -> None:
    class Multiplying(Fake):
        def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
            third = torch.full((1, 1), 1 / 3)
            return [{"length": float(third @ third)} for _ in clips]

    halving = type("Halving", (Multiplying,), {"half_on_gpu": True})
    for kind, exact in ((Multiplying, True), (halving, False)):
        profile = create_profile("made", [kind()])
        half, whole = Engine(profile, half=torch.bfloat16), Engine(profile)
        (measured,) = half.run(seconds(1))
        assert (abs(measured.values["length"] - 1 / 9) < 1e-6) is exact
        assert measured.values["length"] == pytest.approx(1 / 9, rel=1e-2)
        assert (half.recipes == whole.recipes) is exact


def test_threads_are_bounded_while_it_runs_and_as_before_afterwards() -> None:
    class Threaded(Fake):
        columns = (Column(name="threads", kind="json"),)

        def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
            return [{"threads": [torch.get_num_threads(), cv2.getNumThreads()]} for _ in clips]

    before = torch.get_num_threads(), cv2.getNumThreads()
    (result,) = run([Threaded()], *seconds(1))
    assert result.values["threads"] == [1, 1]
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before


def test_a_processor_that_reads_a_column_runs_after_the_one_that_gives_it() -> None:
    (result,) = run([Doubler(), Fake()], *seconds(2))
    assert result.values == {"length": 2.0, "double": 4.0}


def test_an_optional_column_is_none_where_the_profile_does_not_give_it() -> None:
    (result,) = run([Hoper()], *seconds(2))
    assert result.values == {"hoped": [None]}


def test_an_optional_column_that_is_given_is_computed_first() -> None:
    (result,) = run([Hoper(), Fake()], *seconds(2))
    assert result.values == {"length": 2.0, "hoped": [2.0]}


def test_a_recipe_covers_the_optional_columns_that_are_there() -> None:
    alone = Engine(create_profile("made", [Hoper()])).recipes["fake.hoper"]
    given, other = (
        Engine(create_profile("made", [Hoper(), Fake(Options(factor=factor))])).recipes["fake.hoper"]
        for factor in (1.0, 3.0)
    )
    assert len({alone, given, other}) == 3


def test_frames_are_thinned_and_shrunk_and_sound_withheld_as_asked() -> None:
    clip = make_clip(frames_rgb=np.zeros((20, 48, 64, 3), np.uint8), audio=tone(100, 5.0))
    (result,) = run([Looker()], clip)
    assert result.values == {"shape": [10, 24, 32, 3], "hears": False}


def test_sound_is_resampled_and_frames_withheld_as_asked() -> None:
    clip = make_clip(audio=tone(100, 5.0))
    (result,) = run([Listener()], clip)
    assert result.values == {"samples": 40_000, "frames": 0}


def test_an_empty_sound_track_is_no_sound() -> None:
    (result,) = run([Listener()], make_clip(audio=np.zeros(0, np.float32)))
    assert result.values["samples"] is None


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"other": 0.5}, r"row has columns \['other'\], declared are \['wrong'\]"),
        ({"wrong": 0.5, "other": 1}, "declared are"),
        ({"wrong": 1.5}, r"column wrong keeps to \[0, 1\], got 1.5"),
        ({"wrong": float("nan")}, "nan is no measurement; missing is None"),
        ({"wrong": "much"}, "column wrong is a float, got 'much'"),
        ({"wrong": 1}, "column wrong is a float, got 1"),
    ],
)
def test_a_row_that_breaks_its_declaration_is_a_failure(row: Row, reason: str) -> None:
    (result,) = run([Wrong(row)], *seconds(1))
    assert result.values == {"wrong": None}
    assert re.search(reason, result.failed["fake.wrong"])


def test_values_are_plain_and_rounded() -> None:
    (result,) = run([Wrong({"wrong": np.float32(1 / 3)})], *seconds(1))
    assert result.values == {"wrong": 0.333333}
    assert type(result.values["wrong"]) is float


def test_a_recipe_changes_with_the_options_of_what_it_rests_on() -> None:
    plain = Engine(create_profile("made", [Fake(), Doubler()])).recipes
    other = Engine(create_profile("made", [Fake(Options(factor=3.0)), Doubler()])).recipes
    assert plain["fake.fake"] != other["fake.fake"]
    assert plain["fake.doubler"] != other["fake.doubler"]


def test_thinning_keeps_the_first_frame_of_each_period() -> None:
    irregular_s = np.array([0.0, 0.26, 0.4, 0.55, 1.6, 1.7, 2.0, 2.01])
    assert thinned(irregular_s, 2.0).tolist() == [0, 3, 4, 6]
    assert thinned(np.arange(20) / 4.0, 4.0).tolist() == list(range(20))
    assert thinned(np.array([3.0]), 1.0).tolist() == [0]


def test_time_stamps_rounded_to_milliseconds_do_not_lose_frames() -> None:
    rounded_s = np.array([0.0, 0.333, 0.667, 1.0, 1.333])
    assert thinned(rounded_s, 3.0).tolist() == [0, 1, 2, 3, 4]


def test_shrinking_averages_and_never_enlarges() -> None:
    halves = np.zeros((1, 4, 8, 3), np.uint8)
    halves[:, :, ::2] = 200
    assert np.unique(shrunk(halves, 4)).tolist() == [100]
    assert shrunk(halves, 4).shape == (1, 2, 4, 3)
    assert shrunk(halves, 100) is halves


def test_resampling_keeps_a_tone() -> None:
    slow = resampled(tone(440, 1.0), 16_000, 8_000)
    assert len(slow) == 8_000
    assert np.argmax(np.abs(np.fft.rfft(slow))) == 440


def test_an_unknown_kind_of_fault_is_not_hidden() -> None:
    class Mistaken(Fussy):
        fault = TypeError("our own mistake")

    with pytest.raises(TypeError, match="our own mistake"):
        run([Mistaken()], *seconds(10))


def test_no_clips_are_no_results() -> None:
    assert run([Fake()]) == []


def test_ids_survive_equal_contents() -> None:
    (clip,) = seconds(2)
    results = run([Fake()], clip, replace(clip, clip_id="twin"))
    assert [r.clip_id for r in results] == ["clip2", "twin"]
