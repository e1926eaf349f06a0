"""Calibrations of the control vectors: which one holds."""

from store.records import Json
from store.store import Store


def latest_calibration(store: Store) -> Json | None:
    """The document of the calibration that was adopted last; None while there is none."""
    adopted = store.calibrations.all(status="adopted").values()
    return max(adopted, key=lambda body: (body["adopted_at"], body["request_id"]), default=None)
