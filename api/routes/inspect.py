"""A clip as a page that a person can check: what was measured, over its pictures and sound."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from api.bodies import problems
from api.inspect.material import declared_columns
from api.inspect.page import page
from api.routes.why import why_clip
from api.service import Given
from processors.decode import read_samples

router = APIRouter(prefix="/clips", tags=["clips"])


@router.get("/{clip_id}/page", response_class=HTMLResponse, responses=problems(404, 422))
def show_page(clip_id: str, service: Given) -> HTMLResponse:
    """One self-contained HTML page: frames with boxes, curves, sound, distributions, decisions and recipes."""
    store = service.store
    row = store.clips.get(clip_id)
    key = row["samples_key"]
    clip = None if key is None else read_samples(store.media.read(key), clip_id)
    return HTMLResponse(page(row, declared_columns(store.clips.schema), why_clip(clip_id, service), clip))
