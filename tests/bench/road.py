"""How long the whole road takes: from the submission of rendered footage until every clip is placed among the others.

`python -m tests.bench.road [--seconds 60]` prints one JSON line. Training is left out: no concept can become ready.
Starting the service, with the models it loads, is told apart from the road.
"""

import argparse
import json
import tempfile
from pathlib import Path

from demo.footage import render_footage
from demo.run import Clock, ingest, own_footage
from demo.service import DemoService

_NEVER_READY = "concepts: [{name: all, description: every clip, query: duration_s > 0, min_clips: 1000000}]\n"
_GIVE_UP_S = 1800.0
_POLL_S = 0.25


def measure(folder: Path, seconds: float, clock: Clock = Clock()) -> dict[str, float]:
    """Seconds that each part takes on `seconds` of footage.

    Raises:
        TimeoutError: the clips were not all placed within half an hour.
    """
    videos = render_footage(folder / "footage", seconds)
    footage_s = sum(float((v.shots[-1].end_pts - v.frame_pts[0]) * v.time_base) for v in videos)
    concepts = folder / "concepts.yaml"
    concepts.write_text(_NEVER_READY)
    started_s = clock.now_s()
    with DemoService(folder, concepts, folder / "footage") as service:
        ready_s = clock.now_s()
        ingest(service.client, own_footage(folder / "footage"), lambda done, of: None)
        submitted_s = clock.now_s()
        annotated_s = None
        while clock.now_s() - submitted_s < _GIVE_UP_S:
            status = service.client.get("/status")
            placed = service.client.get("/clips", where="curation_recipe IS NOT NULL", limit=1)["total"]
            if annotated_s is None and status["settled"]:
                annotated_s = clock.now_s()
            if annotated_s is not None and placed == status["clips"]["total"]:
                road_s = clock.now_s() - ready_s
                return {
                    "footage_s": footage_s,
                    "clips": placed,
                    "start_s": ready_s - started_s,
                    "submit_s": submitted_s - ready_s,
                    "until_annotated_s": annotated_s - ready_s,
                    "until_placed_s": road_s,
                    "road_s_per_minute_of_footage": road_s / footage_s * 60,
                }
            clock.sleep(_POLL_S)
    raise TimeoutError(f"the clips of {footage_s:.0f} s of footage were not placed within {_GIVE_UP_S:g} s")


def main() -> None:
    """The command line of the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.road", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="footage to render")
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), parser.parse_args().seconds)
    print(json.dumps({name: round(value, 2) for name, value in found.items()}))


if __name__ == "__main__":
    main()
