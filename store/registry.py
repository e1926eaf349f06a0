"""The registry of adapters: which version each is, what it descends from, and which is in use.

An adapter is what a run that succeeded made; the registry is read off the runs and people's decisions, and kept
nowhere. The adapters of a concept and stage are numbered in the order in which their runs ended: `calm/A3` is concept
`calm`'s third of stage A. A withdrawn one keeps its number.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from store.errors import NotFound
from store.records import Json
from store.store import Store

State = Literal["in use", "superseded", "not promoted", "retired", "withdrawn"]
"""superseded: promoted, and another was after it. retired: by a person. withdrawn: by a removal."""
FIGURES = (
    "held_out_loss_before",
    "held_out_loss_after",
    "held_out_gain_error",
    "fixed_loss_before",
    "fixed_loss_after",
    "control_fidelity_before",
    "control_fidelity",
    "drift",
    "likeness_gap_before",
    "likeness_gap_after",
    "flicker_before",
    "flicker_after",
    "flicker_footage",
    "reload_max_abs_diff",
)
"""Of a run's metrics: how its adapter did, and what it is compared with."""


@dataclass(frozen=True)
class Adapter:
    """An adapter as it stands.

    version: stage and number. run: its run's document. decisions: what people decided about it, in order of time.
    """

    version: str
    state: State
    run: Json
    decisions: tuple[Json, ...] = ()

    @property
    def run_id(self) -> str:
        """Of the run that made it: its id."""
        return str(self.run["run_id"])

    @property
    def concept(self) -> str:
        """What it was trained on."""
        return str(self.run["concept"])

    @property
    def stage(self) -> str:
        """A or B."""
        return str(self.run["stage"])

    @property
    def name(self) -> str:
        """Such as `calm/A3`."""
        return f"{self.concept}/{self.version}"

    @property
    def last_word_at(self) -> datetime:
        """When it, or the last decision about it, came."""
        return max([_ended_at(self.run), *(_time(one, "decided_at") for one in self.decisions)])


def read_adapters(store: Store) -> list[Adapter]:
    """Every adapter, by concept, stage and number."""
    return adapters_of(store.runs.all().values(), store.adapter_decisions.all().values())


def adapters_of(runs: Iterable[Json], decisions: Iterable[Json]) -> list[Adapter]:
    """The adapters of runs' and of decisions' documents, by concept, stage and number."""
    lines: dict[tuple[str, str], list[Json]] = {}
    for run in runs:
        if _made_one(run):
            lines.setdefault((run["concept"], run["stage"]), []).append(run)
    told = sorted(decisions, key=_order)
    found = []
    for (_, stage), line in sorted(lines.items()):
        line.sort(key=lambda run: (_ended_at(run), run["run_id"]))
        about = {run["run_id"]: [one for one in told if one["run_id"] == run["run_id"]] for run in line}
        states = _states(line, [one for some in about.values() for one in some])
        found += [
            Adapter(f"{stage}{number}", states[run["run_id"]], run, tuple(about[run["run_id"]]))
            for number, run in enumerate(line, start=1)
        ]
    return found


def in_use(adapters: Iterable[Adapter], concept: str, stage: str) -> Adapter | None:
    """The adapter of a concept and stage that is in use; later runs go on from it."""
    standing = (one for one in adapters if (one.concept, one.stage, one.state) == (concept, stage, "in use"))
    return next(standing, None)


def find(adapters: Iterable[Adapter], name: str) -> Adapter:
    """The adapter of a name such as `calm/A3`, or of a run's id.

    Raises:
        NotFound: there is none.
    """
    for one in adapters:
        if name in (one.name, one.run_id):
            return one
    raise NotFound(f"no adapter {name!r}; give CONCEPT/VERSION, such as calm/A3, or its run's id: GET /adapters lists")


def lineage(adapter: Adapter, adapters: Iterable[Adapter]) -> Json:
    """What an adapter descends from and how it did; None where its run does not tell (any more)."""
    run, metrics = adapter.run, adapter.run.get("metrics", {})
    parents = [one.name for one in adapters if one.run_id == run["parent"]]
    return {
        "parent": parents[0] if parents else run["parent"],
        "members_digest": run["members_digest"],
        "dataset": {
            name: metrics.get(name)
            for name in ("definition", "recipe", "dataset_digest", "snapshot", "n_clips", "n_videos")
        },
        "base": {name: metrics.get(name) for name in ("base", "base_label", "base_revision")},
        "settings": metrics.get("settings", run["settings"]),
        "evaluation": {name: metrics[name] for name in FIGURES if name in metrics},
        "promoted": metrics.get("promoted"),
        "verdict": metrics.get("verdict", []),
        "exports": metrics.get("exports", {}),
    }


def _made_one(run: Json) -> bool:
    """Whether a run's document tells of an adapter: a withdrawn one tells its end only where it had succeeded."""
    has_ended = run["status"] == "succeeded" or (run["status"] == "withdrawn" and "finished_at" in run)
    return has_ended and "stage" in run  # else its request is not known yet


def _was_promoted(run: Json) -> bool:
    """Whether a run's adapter beat what it came from; one that was never judged was gone on from, as all were then."""
    return bool(run.get("metrics", {}).get("promoted", True))


def _states(line: Sequence[Json], decisions: Iterable[Json]) -> dict[str, State]:
    """The state of each of the adapters of one concept and stage, by run id.

    They are put into use one after another; the last that was not taken out again is in use.
    """
    withdrawn = {run["run_id"] for run in line if run["status"] == "withdrawn"}
    events = [(_ended_at(run), "", run["run_id"], "promote") for run in line if _was_promoted(run)]
    events += [(*_order(one), one["run_id"], one["verb"]) for one in decisions]
    standing: list[str] = []
    retired: set[str] = set()
    for _, _, run_id, verb in sorted(events):
        standing = [one for one in standing if one != run_id]
        retired.discard(run_id)
        if verb == "retire":
            retired.add(run_id)
        elif run_id not in withdrawn:
            standing.append(run_id)

    def state(run_id: str) -> State:
        if run_id in withdrawn:
            return "withdrawn"
        if run_id in standing:
            return "in use" if run_id == standing[-1] else "superseded"
        return "retired" if run_id in retired else "not promoted"

    return {run["run_id"]: state(run["run_id"]) for run in line}


def _order(decision: Json) -> tuple[datetime, str]:
    return _time(decision, "decided_at"), decision["decision_id"]


def _ended_at(run: Json) -> datetime:
    return _time(run, "finished_at")


def _time(body: Json, field: str) -> datetime:
    return datetime.fromisoformat(body[field])
