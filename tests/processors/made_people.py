"""People of sticks that a person can compute with: key points as pose processors give them."""

from typing import Any

from processors.skeleton import N_POINTS

ASPECT = 16 / 9
STANDING = {
    **{0: (0.0, -0.55), 1: (0.04, -0.6), 2: (-0.04, -0.6), 3: (0.09, -0.55), 4: (-0.09, -0.55)},
    **{5: (0.35, 0.0), 6: (-0.35, 0.0), 7: (0.4, 0.5), 8: (-0.4, 0.5), 9: (0.4, 0.95), 10: (-0.4, 0.95)},
    **{11: (0.2, 1.0), 12: (-0.2, 1.0), 13: (0.2, 1.9), 14: (-0.2, 1.9), 15: (0.2, 2.8), 16: (-0.2, 2.8)},
}
"""x, y in trunk lengths from the shoulders' middle, by COCO's number."""
SITTING = STANDING | {13: (0.25, 1.1), 14: (-0.25, 1.1), 15: (0.25, 1.95), 16: (-0.25, 1.95)}
KNEELING = STANDING | {15: (0.2, 1.95), 16: (-0.2, 1.95)}
LYING = {number: (y, x) for number, (x, y) in STANDING.items()}
HEAD_AND_ARMS = {number: place for number, place in STANDING.items() if number < 11}


def keypoints(
    person: dict[int, tuple[float, float]], x: float = 0.5, y: float = 0.3, torso: float = 0.2
) -> list[list[float]]:
    """17 of x, y in 0..1 and score: the person with the shoulders' middle at x, y and a trunk of `torso` heights."""
    points = [[0.0, 0.0, 0.05] for _ in range(N_POINTS)]
    for number, (across, down) in person.items():
        points[number] = [x + across * torso / ASPECT, y + down * torso, 0.9]
    return points


def pose_track(*sights: list[list[float]], track: int = 0, step_s: float = 0.25) -> dict[str, Any]:
    """A track of `pose_tracks` with these key points every `step_s` seconds."""
    return {"track": track, "times_s": [i * step_s for i in range(len(sights))], "keypoints": list(sights)}


def person_track(*boxes_xyxy: list[float], track: int = 0, step_s: float = 0.25) -> dict[str, Any]:
    """A track of `people_tracks` with these boxes every `step_s` seconds."""
    n = len(boxes_xyxy)
    times_s = [i * step_s for i in range(n)]
    return {"track": track, "times_s": times_s, "boxes_xyxy": list(boxes_xyxy), "scores": [0.9] * n}
