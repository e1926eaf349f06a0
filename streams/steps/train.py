"""Train: runs a requested LoRA training in a process of its own and publishes what came of it."""

import asyncio
import logging
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import ClassVar

from store.documents import record_of
from store.errors import CliploomError, Passing
from store.files import folders
from store.records import Json, Record, TrainingControlled, TrainingFinished, TrainingProgress, TrainingRequested
from store.runs import OVER, UNDER_WAY, controlled, stints_of
from store.store import Store
from streams.child import Child
from streams.runner import Failure, Publish, Step
from trainer.leftovers import Leftovers

log = logging.getLogger(__name__)

_TIME_LIMIT_S = 6 * 3600.0
_LOOK_EVERY_S = 0.5
"""How often the store is asked whether the run in hand may go on."""


class Train(Step):
    """Reads training requests, and what people decide about runs; one run at a time.

    The store says whether a run may run: it is the same after a restart, and whoever reads records a second time. The
    child is killed as soon as the store shows that its run was paused, cancelled or withdrawn; what it left at its last
    checkpoint is where the same request goes on. A resumption runs the request again.

    Args:
        child: runs `streams.workers.train`.
    """

    name: ClassVar[str] = "train"
    reads: ClassVar[tuple[str, ...]] = (TrainingRequested.topic, TrainingControlled.topic)

    def __init__(self, store: Store, child: Child, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._child = child
        self._clock = clock
        self._ended: set[str] = set()
        """Runs that ended here; the store may not show it yet."""

    async def process(self, records: Sequence[Record], publish: Publish) -> dict[int, Failure]:
        for record in records:
            assert isinstance(record, TrainingRequested | TrainingControlled)
            await asyncio.to_thread(self._sweep)
            request = await asyncio.to_thread(self._wanted, record)
            if request is None:
                continue
            resumed = record if isinstance(record, TrainingControlled) else None
            finished = await self._train(request, resumed, publish)
            if finished is not None:
                await publish([finished])
                self._ended.add(request.run_id)
        return {}

    def ends(self, record: Record, failure: Failure) -> Sequence[Record]:
        """A run that cannot be run has failed: its device is free, and the scheduler goes on."""
        if isinstance(record, TrainingControlled) and record.verb != "resume":
            return ()
        assert isinstance(record, TrainingRequested | TrainingControlled)
        run = self._store.runs.get(record.run_id)
        concept = record.concept if isinstance(record, TrainingRequested) else (run or {}).get("concept")
        if concept is None:
            return ()
        why = {"bug": "an error of the program, whose traceback is in the log: ", "exhausted": "tried until given up: "}
        self._ended.add(record.run_id)
        return [self._failed(record.run_id, concept, why.get(failure.kind, "") + failure.reason)]

    def stop(self) -> None:
        self._child.kill()

    def _wanted(self, record: TrainingRequested | TrainingControlled) -> TrainingRequested | None:
        """The run that a record wants to be run now; None where it is over, halted, or not what the record asks."""
        resumed = record if isinstance(record, TrainingControlled) else None
        if record.run_id in self._ended or (resumed is not None and resumed.verb != "resume"):
            return None
        run = self._run(record.run_id, resumed)
        if isinstance(record, TrainingRequested):
            return record if run is None or run["status"] in UNDER_WAY else None
        # Without its request the store knows no run: that is still to be read, and runs it.
        is_known = run is not None and "stage" in run and run["status"] in UNDER_WAY
        return record_of(TrainingRequested, run) if run is not None and is_known else None

    def _run(self, run_id: str, resumed: TrainingControlled | None) -> Json | None:
        """The run's document, with a resumption that the store may not show yet."""
        run = self._store.runs.get(run_id)
        return controlled(run, resumed) if run is not None and resumed is not None else run

    async def _train(
        self, request: TrainingRequested, resumed: TrainingControlled | None, publish: Publish
    ) -> TrainingFinished | None:
        """The run's end; None where it was halted."""
        held = _Held(request, await asyncio.to_thread(self._run, request.run_id, resumed), self._clock, publish)
        await held.tell()
        training = asyncio.create_task(self._child.run(request, _TIME_LIMIT_S, held.tell))
        halting = asyncio.create_task(self._halted(request.run_id, resumed))
        try:
            await asyncio.wait({training, halting}, return_when=asyncio.FIRST_COMPLETED)
            if not training.done():
                log.info("train: run %s was %s, and is stopped", request.run_id, halting.result())
                self._child.kill()
                await asyncio.wait({training})
            if training.exception() is None or not halting.done():
                return training.result()
            # It ended because it was stopped, whatever it said with its last breath.
            await held.tell()
            return None
        except Passing:
            raise
        except CliploomError as error:
            return self._failed(request.run_id, request.concept, str(error))
        finally:
            halting.cancel()
            training.cancel()
            self._child.kill()

    def _failed(self, run_id: str, concept: str, reason: str) -> TrainingFinished:
        return TrainingFinished(
            run_id=run_id,
            concept=concept,
            status="failed",
            reason=reason,
            artefacts={},
            metrics={},
            clip_ids=(),
            finished_at=self._clock(),
        )

    def _sweep(self) -> None:
        """Delete the states of runs that are over, which nobody goes on from."""
        for folder in folders(Leftovers(self._store.folder).runs):
            run = self._store.runs.get(folder.name)
            if run is not None and run["status"] in OVER:
                shutil.rmtree(folder, ignore_errors=True)

    async def _halted(self, run_id: str, resumed: TrainingControlled | None) -> str:
        """Returns what became of the run, once the store shows that it may not go on."""
        while True:
            try:
                run = await asyncio.to_thread(self._run, run_id, resumed)
            except (OSError, RuntimeError) as error:  # what LanceDB raises where its files cannot be read
                log.warning("train: the store did not tell of run %s, which goes on: %s", run_id, error)
            else:
                if run is not None and run["status"] not in UNDER_WAY:
                    return str(run["status"])
            await asyncio.sleep(_LOOK_EVERY_S)


class _Held:
    """Tells how far a run is, with all the time for which it has held a device.

    Args:
        run: the run's document, None where the store has none yet.
    """

    def __init__(
        self, request: TrainingRequested, run: Json | None, clock: Callable[[], datetime], publish: Publish
    ) -> None:
        self._clock = clock
        self._publish = publish
        self._earlier = stints_of(run) if run is not None else ()
        self._begun = clock()
        told = (run or {}).get("progress") or {"phase": "start", "step": 0, "steps": 1, "loss": None}
        self._last = TrainingProgress.model_validate({"run_id": request.run_id} | told)

    async def tell(self, progress: TrainingProgress | None = None) -> None:
        """Publish progress; None: as it was told last, up to now."""
        self._last = progress or self._last
        # A clock may be put back.
        stint = (self._begun, max(self._begun, self._clock()))
        await self._publish([self._last.model_copy(update={"stints": (*self._earlier, stint)})])
