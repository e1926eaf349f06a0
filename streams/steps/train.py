"""Train: runs a requested LoRA training in a process of its own and publishes what came of it."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from store.errors import CliploomError, Passing
from store.records import Record, TrainingFinished, TrainingProgress, TrainingRequested
from store.store import Store
from streams.child import Child
from streams.runner import Failure, Publish, Step

_TIME_LIMIT_S = 6 * 3600.0


class Train(Step):
    """Reads training requests; one run at a time."""

    name: ClassVar[str] = "train"
    reads: ClassVar[tuple[str, ...]] = (TrainingRequested.topic,)

    def __init__(self, store: Store, data: Path, unfinished: Path, device: str, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._child = Child("train", "streams.workers.train", str(data), unfinished, device)

    async def process(self, records: Sequence[Record], publish: Publish) -> dict[int, Failure]:
        for request in records:
            assert isinstance(request, TrainingRequested)
            run = self._store.runs.get(request.run_id)
            if run is None or run["status"] in ("requested", "running"):
                await publish([await self._train(request, publish)])
        return {}

    def stop(self) -> None:
        self._child.kill()

    async def _train(self, request: TrainingRequested, publish: Publish) -> TrainingFinished:
        async def tell(progress: TrainingProgress) -> None:
            await publish([progress])

        try:
            return await self._child.run(request, _TIME_LIMIT_S, tell)
        except Passing:
            raise
        except CliploomError as error:
            return TrainingFinished(
                run_id=request.run_id,
                concept=request.concept,
                status="failed",
                reason=str(error),
                artefacts={},
                metrics={},
                clip_ids=(),
                finished_at=self._clock(),
            )
        finally:
            self._child.kill()
