"""The `cliploom` command: one function per command, in `api/commands`, with one parameter per option."""

import typer

from api.commands import (
    adapters,
    annotations,
    clips,
    clusters,
    concepts,
    dead,
    decisions,
    doctor,
    drift,
    evaluate,
    identities,
    ingest,
    inspect,
    models,
    plot,
    recipe,
    review,
    snapshot,
    status,
    training,
    up,
    workers,
)

app = typer.Typer(
    help="Footage in, diffusion datasets and LoRAs out. Start the service with `cliploom up`.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
app.command()(up.up)
app.command()(workers.work)
app.command()(ingest.ingest)
app.command()(status.status)
app.command()(clips.search)
app.command()(clips.why)
app.command()(inspect.inspect)
app.command()(annotations.reasoning)
app.command()(annotations.spent)
app.command()(annotations.annotate)
app.command()(annotations.calibrate)
app.add_typer(recipe.app, name="recipe")
app.add_typer(evaluate.app, name="eval")
app.command()(clusters.clusters)
app.command()(concepts.concepts)
app.add_typer(training.app, name="train")
app.add_typer(adapters.app, name="adapters")
app.add_typer(drift.app, name="drift")
app.add_typer(plot.app, name="plot")
app.add_typer(snapshot.app, name="snapshot")
app.command()(decisions.release)
app.command()(decisions.remove)
app.add_typer(review.app, name="review")
app.add_typer(identities.app, name="identities")
app.add_typer(dead.app, name="dead")
app.command()(workers.rebuild)
app.add_typer(models.app, name="models")
app.command()(doctor.doctor)

if __name__ == "__main__":
    app()
