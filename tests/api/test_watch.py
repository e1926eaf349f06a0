"""`cliploom status --watch`: what it draws, that it outlives the service, and how it ends."""

import io
import re
from datetime import datetime, timedelta

import pytest
from rich.console import Console

from api.client import Client
from api.commands.watch import watch
from api.service import StepHealth, Steps
from store.records import ConceptChanged, FootageContinued, TrainingProgress, TrainingRequested


class Line:
    """A client whose service can be taken away."""

    def __init__(self, url):
        self.url = url
        self.there, self.nowhere = Client(url), Client("http://127.0.0.1:1")
        self.is_cut = False

    def get(self, path):
        return (self.nowhere if self.is_cut else self.there).get(path)


class Screen:
    """A terminal of a size, and a person who presses Ctrl-C after some looks.

    between: what happens after a look, one call each; a look a second.
    """

    def __init__(self, client, width=80, height=40):
        self.console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
        self._client = client
        self.seconds = 0

    def watch(self, *between):
        """What was drawn, look by look."""
        events = iter(between)
        looks = []
        start = 0

        def wait(every_s):
            nonlocal start
            written = self.console.file.getvalue()
            looks.append(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written[start:]))
            start = len(written)
            self.seconds += every_s
            event = next(events, None)
            if event is None:
                raise KeyboardInterrupt
            event()

        noon = datetime(2026, 3, 1, 12)
        clock = lambda: noon + timedelta(seconds=self.seconds)  # noqa: E731
        watch(self._client, 1.0, self.console, clock, wait, lambda: float(self.seconds))
        return looks


@pytest.fixture
def client(live):
    line = Line(live.url)
    yield line
    line.there.close()
    line.nowhere.close()


def requested(run_id, concept):
    return TrainingRequested(
        run_id=run_id,
        concept=concept,
        stage="A",
        members_key="k",
        members_digest="d",
        parent=None,
        settings={},
        requested_by="Ada",
        reason="",
        requested_at="2026-03-01T12:00:00Z",
    )


def concept(name, purity, ready):
    return ConceptChanged(
        concept=name,
        definition={},
        members_key="k",
        members_digest="d",
        n_members=9,
        n_eligible=8,
        n_videos=3,
        purity=purity,
        purity_low=purity,
        ready=ready,
        reasons=(),
        recipe="r",
    )


@pytest.mark.parametrize("width", [80, 120])
def test_the_view_shows_all_that_goes_on_within_the_width(live, client, make_clip, submitted, letter, width):
    live.apply(submitted("v1"), submitted("v2"), letter("d1", step="embed"), concept("lively", 0.934, True))
    live.apply(FootageContinued(footage=submitted("v2"), chunk=3, checkpoint_key="k", clip_ids=(), share=0.42))
    live.apply(requested("r1", "lively"), TrainingProgress(run_id="r1", phase="lora", step=30, steps=120, loss=0.25))
    make_clip(0)
    live.told = Steps((StepHealth("segment", 1, 2, 1), StepHealth("embed", 1234, 5, 0)), "told by the broker")

    (drawn,) = Screen(client, width).watch()

    assert max(len(line) for line in drawn.splitlines()) <= width
    lines = [" ".join(line.split()) for line in drawn.splitlines()]
    assert "videos 2 submitted" in lines
    assert "1 densified" in drawn
    assert "1 open" in drawn
    assert any("v2.mp4" in line and "42%" in line for line in lines)
    assert any("embed" in line and "1,234" in line for line in lines)
    assert any("lively" in line and "0.93" in line for line in lines)
    assert any("30/120" in line and "0.25" in line for line in lines)


def test_the_rate_of_a_step_is_that_since_the_last_look(live, client):
    def done(number):
        live.told = Steps((StepHealth("embed", 0, number, 1),), "told by the worker")

    done(10)
    looks = Screen(client).watch(lambda: done(14), lambda: done(3))

    rates = [line.split()[2] for look in looks for line in look.splitlines() if line.strip().startswith("embed")]
    assert rates == ["–", "4.0", "–"]


def test_why_no_step_is_told_is_drawn(live, client):
    (drawn,) = Screen(client).watch()

    assert "no worker here" in drawn


def test_it_says_when_the_service_is_away_and_goes_on_when_it_is_back(live, client, submitted):
    def away():
        client.is_cut = True

    def back():
        client.is_cut = False
        live.apply(submitted("v1"))

    looks = Screen(client).watch(away, lambda: None, back)

    assert "away" not in looks[0]
    assert "away since 12:00:01: no service answers" in " ".join(looks[1].split())
    assert "as it was at 12:00:00" in looks[1]
    assert "away since 12:00:01" in looks[2]
    assert "away" not in looks[3]
    assert "1 submitted" in looks[3]


def test_a_service_that_is_not_there_yet_is_waited_for(client):
    def appears():
        client.is_cut = False

    client.is_cut = True
    looks = Screen(client).watch(appears)

    assert "trying again" in looks[0]
    assert "settled" in looks[1]


def test_watching_is_for_people(run):
    assert run("status", "--watch", "--json")[0] == 2
