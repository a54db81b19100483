"""The kind of model `context`, for cost, training, imputation and the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import JointAxis
from epixs.axis.targets import lacking_assays, targets_of, wanted_assays
from epixs.catalog.pairs import Pair
from epixs.config import Settings, TrainingSettings
from epixs.errors import counted
from epixs.models.context.settings import KEYS, ContextSettings
from epixs.models.kinds import Kind, PlanNotes, Predict, Schedule, Spreads
from epixs.sampling.added import AddedTracks, assays_to_fit
from epixs.sampling.context import ContextSampler
from epixs.sampling.fill import RADII, SUMMARIES
from epixs.sampling.intervals import COVERED, HALF_WIDTH, KNOTS
from epixs.sampling.kriging import BAND_RADII
from epixs.sampling.learned import (
    learn_reliability,
    learn_trust,
)
from epixs.sampling.mixture import PARTS, READINGS, expected_shares
from epixs.sampling.panel import ASSAYS, OWN_TRACKS, packed_size
from epixs.sampling.species import classes_of, fewest_bytes, labels_of, tracks_of
from epixs.sampling.species import signal_bytes as all_bytes
from epixs.sampling.unseen import FEWEST_TRACKS, LEFT_TO_SEE, can_be_held_out
from epixs.sampling.zero_shot import learn_absent, learn_hidden, learn_mixture

if TYPE_CHECKING:
    from epixs.models.folder import TrainedModel

ENTRIES_PER_STEP, TARGETS_PER_MEMBER, MOST_BINS = 4_096, 4, 256
"""Number of entries in a step; the least number of targets per member in a step, and most bins per target."""

ENTRIES_PER_EPOCH, MOST_PASSES = 1 << 20, 4
"""Entries per epoch, and maximum number of entries per value of the tracks."""

EPOCHS, MOST_EPOCHS, EXTENSION_EPOCHS = 16, 28, 4
"""Number of epochs of training, of few tracks and of many, and for fitting the factors of new assays."""

FEW_TRACKS = 30
"""Training tracks from which on epochs grow with them: members have to see each track often enough."""


MOST_NAMED = 3
"""Maximum number of assays that a remark names."""


class Context(Kind):
    """Attention, by the target's assay, over tokens of the tracks observed around a bin."""

    settings = ContextSettings
    training = TrainingSettings(
        learning_rate=1e-3, weight_decay=1e-4, species_weight="balanced", patience=0, precision="float32"
    )
    can_be_extended = True
    reads_signal = True
    held_out = "tracks, each predicted only by networks that have never seen it"
    keeps_last = True  # few tracks are held out: their error depends on how high each happens to be
    worked_out_every = 5  # else it takes a quarter of the training time
    limits = (
        "It reads the tracks of the store that it imputes: damaged or mislabelled tracks there spoil the "
        "imputed ones.",
        "Intervals hold 80 % of the bins on average over tracks like those of training; of a single track, "
        "it may be much less or more.",
        "If an assay behaves differently in other species, its zero-shot tracks are wrong where it does.",
    )
    smaller = "take fewer members"

    def lacks(self, axis: JointAxis) -> str:
        """Name the tracks that are lacking, if there are too few to hold any out."""
        if axis.n_training < FEWEST_TRACKS:
            return f"at least {FEWEST_TRACKS} training tracks, and there are {axis.n_training}"
        if not any(can_be_held_out(part.training).any() for part in axis.parts if len(part.training)):
            return (
                f"a track of a biosample and of an assay that have {LEFT_TO_SEE + 1} training tracks each; "
                f"none of {axis.n_training} is one"
            )
        return ""

    def build(self, axis: JointAxis, settings: Settings, *, precision: str = "float32") -> Any:
        """Make the model."""
        from epixs.models.context.network import ContextNetwork

        sizes = {name: value for name, value in settings.model.to_dict().items() if name in SIZES}
        model = ContextNetwork(
            len(axis.assays), radii=RADII.size, statistics=statistics_size(axis), species=len(axis.parts),
            tracks=axis.n_training, name="context", **sizes,
        )  # fmt: skip
        model.build()
        model.axis = axis
        return model

    def parameters(self, axis: JointAxis, settings: Settings) -> int:
        """Number of parameters."""
        model = settings.model
        d, token, heads, hidden = model.assay_factors, model.token, model.heads, model.hidden
        keys = KEYS * heads
        each = (len(axis.assays) + 2) * d
        each += (SUMMARIES + 1) * RADII.size * token + 2 * (d + 1) * token + (token + 1) * token
        each += (d + 1) * keys + token * keys + (3 * d + 2) * token
        each += (heads * token + len(BAND_RADII)) * hidden[0] + (d + 1) * hidden[0]
        each += sum((a + 1) * b for a, b in zip(hidden, (*hidden[1:], 1), strict=True))
        return int(model.members * each) + statistics_size(axis) + kept_size(axis)

    def schedule(self, axis: JointAxis, settings: Settings) -> Schedule:
        """Plan a number of entries that does not grow with the genome: nothing is learned per position.

        There are more epochs for more tracks, but not for zero-shot imputation, where more do not help.
        """
        training = settings.training
        batch = training.batch_size or ENTRIES_PER_STEP
        values = sum(part.n_positions[0] * len(part.training) for part in axis.parts)
        entries = min(ENTRIES_PER_EPOCH, MOST_PASSES * values)
        by_tracks = int(np.clip(EPOCHS * axis.n_training // FEW_TRACKS, EPOCHS, MOST_EPOCHS))
        epochs = EPOCHS if wanted_assays(axis, settings.model.target) else by_tracks
        return Schedule(batch, max(1, entries // batch), training.epochs or epochs)

    def working_bytes(self, axis: JointAxis, settings: Settings, batch_size: int) -> int:
        """Estimate the memory of the inputs, and of the tokens' activations and gradients."""
        model = settings.model
        return int(batch_size * 4 * 3 * (4 * (OWN_TRACKS + ASSAYS) * model.token + sum(model.hidden)))

    def signal_memory(self, axis: JointAxis, settings: Settings, available: int) -> tuple[int, bool]:
        """Return the bytes of the tracks in memory, and whether they are all: they are if memory suffices."""
        whole = all_bytes(axis)
        return (whole, True) if whole <= available else (max(available, fewest_bytes(axis)), False)

    def sampler(
        self, axis: JointAxis, settings: Settings, *, batch_size: int, signal_bytes: int | None = None
    ) -> ContextSampler:
        """Make the sampler of targets and the tracks around them."""
        model, training = settings.model, settings.training
        focus = wanted_assays(axis, model.target)
        return ContextSampler(
            axis,
            **self.step_sizes(axis, settings, batch_size),
            held_share=model.member_held_out,
            episodes=model.episodes if focus else model.episodes / 2,
            focus=focus,
            species_weight=training.species_weight,
            seed=training.seed,
            memory_bytes=signal_bytes,
        )

    def step_sizes(self, axis: JointAxis, settings: Settings, batch_size: int) -> dict[str, Any]:
        """Return members, targets, bins, and steps per epoch, by the names of the sampler's arguments."""
        members = settings.model.members
        per_member = max(TARGETS_PER_MEMBER, -(-batch_size // (MOST_BINS * members)))
        targets = members * max(1, min(per_member, batch_size // members))
        return {
            "members": members,
            "targets": targets,
            "bins": max(1, batch_size // targets),
            "steps_per_epoch": self.schedule(axis, settings).steps_per_epoch,
        }

    def plan_notes(self, axis: JointAxis, settings: Settings) -> PlanNotes:
        """List the targets and the number of assays of zero-shot imputation, if there are any."""
        targets, why = targets_of(axis, settings.model.target)
        wanted = wanted_assays(axis, settings.model.target)
        if not wanted:
            return PlanNotes(remarks=_not_prepared_for(axis))
        return PlanNotes(
            [("zero-shot target", f"{', '.join(targets)} ({why})"), ("zero-shot assays", f"{len(wanted):,}")]
        )

    def described(self, axis: JointAxis, settings: Settings) -> list[tuple[str, str]]:
        """List the sizes, and the targets of zero-shot imputation."""
        sizes = [row for row in super().described(axis, settings) if row[0] != "target"]
        return [*sizes, *self.plan_notes(axis, settings).rows]

    def begin(self, model: Any, sampler: Any) -> None:
        """Store the sampler's statistics of the tracks: imputation then reads tracks as training did."""
        from epixs.models.context.predict import statistics_of

        model.statistics.assign(statistics_of(sampler.species))

    def after_epoch(self, model: Any, sampler: Any) -> None:
        """Learn the trust in the networks, the mixture of zero-shot tracks, and the size of errors."""
        if isinstance(sampler, AddedTracks):
            from epixs.models.context.growth import learn_additions

            learn_additions(model, sampler)
            return

        from epixs.models.context.predict import zero_shot_shares

        def predict(batch: Any) -> Any:
            return model.by_member(dict(batch.inputs)).numpy()[..., 0, 0]

        axis, panels = sampler.axis, [one.panel for one in sampler.species]
        model.trust.assign(1.0)
        model.trust.assign(learn_trust(sampler, predict))
        hidden, in_common = learn_hidden(sampler, predict)
        model.hidden_agreement.assign(hidden)
        model.relations.assign(in_common)
        if len(sampler.species) > 1:
            expected = expected_shares(panels, classes_of(axis), hidden)
            learned_mixture, ease = learn_mixture(sampler, predict, expected)
            moments, shares, agreement = learn_absent(sampler, predict, expected, learned_mixture, in_common)
            model.mixture.assign(learned_mixture)
            model.ease.assign(ease)
            model.moments.assign(moments)
            model.shares.assign(shares)
            model.absent_agreement.assign(agreement)
        if any(held.any() for held in sampler.held):
            learned = learn_reliability(sampler, predict, zero_shot_shares(model, axis, panels))
            model.intervals.assign(learned.widths)
            model.assay_errors.assign(learned.assay_errors)
            model.agreement.assign(learned.agreement)

    def optimizer(self, model: Any, settings: Settings, learning_rate: Any) -> Any:
        """Make Adam with decoupled weight decay and gradients clipped to a global norm of 1."""
        from epixs.models.backend import keras

        return keras.optimizers.AdamW(
            learning_rate, weight_decay=settings.training.weight_decay, global_clipnorm=1.0
        )

    def extension_settings(self, settings: Settings, axis: JointAxis, known: JointAxis) -> Settings:
        """Take few epochs, because at most the factors of some assays are fitted."""
        fits = assays_to_fit(axis, known).any()
        return settings.replace(epochs=settings.training.epochs or (EXTENSION_EPOCHS if fits else 1))

    def take_over(self, model: Any, axis: JointAxis, known: TrainedModel) -> None:
        """Copy networks and what is known of the tracks, and freeze all but the factors of new assays."""
        from epixs.models.context.growth import copy_known

        copy_known(model, axis, known)
        model.freeze(assays_to_fit(axis, known.axis))

    def extension_sampler(
        self, axis: JointAxis, settings: Settings, known: TrainedModel, *, batch_size: int, signal_bytes: int
    ) -> AddedTracks:
        """Make the sampler of the tracks that are new to a model; other species' tracks are not read."""
        from epixs.models.context.growth import known_panels

        return AddedTracks(
            axis,
            known.axis,
            known_panels(axis, known),
            **self.step_sizes(axis, settings, batch_size),
            seed=settings.training.seed,
            memory_bytes=signal_bytes,
        )

    def settings_of(self, model: Any) -> ContextSettings | None:
        """Read the settings of a `ContextNetwork`."""
        from epixs.models.context.network import ContextNetwork

        if not isinstance(model, ContextNetwork):
            return None
        return ContextSettings().replace({name: model.settings[name] for name in SIZES})

    def label_factors(self, model: Any) -> dict[str, npt.NDArray[np.float32]]:
        """Return the factors of assays, with those of all members side by side."""
        factors = np.asarray(model.factors.numpy())
        return {"assay": factors.transpose(1, 0, 2).reshape(factors.shape[1], -1)}

    def provenance(self, trained: TrainedModel, species: str) -> dict[str, Any]:
        """Return the trust in the networks, the mixture of zero-shot tracks, and the meaning of `spread`."""
        from epixs.models.context.predict import panels_of, zero_shot_shares

        axis = trained.axis
        content: dict[str, Any] = {"trust_in_networks": round(float(trained.model.trust.numpy()), 4)}
        lacking = lacking_assays(axis, (species,))
        at = axis.species.index(species)
        if lacking and np.isfinite(trained.model.mixture.numpy()[at]).all():
            shares = zero_shot_shares(trained.model, axis, panels_of(trained.model, axis))[at]
            content["zero_shot_mixture"] = {
                axis.part(species).store_name(assay): {
                    part: round(float(share), 4) for part, share in zip(PARTS, of_assay, strict=True)
                }
                for assay, of_assay in zip(lacking, shares[axis.assay_index(lacking)], strict=True)
            }
        if trained.model.intervals.numpy()[0, 1].any():
            content["spread"] = {
                "covered": COVERED,
                "spreads_to_each_side": HALF_WIDTH,
                "of_zero_shot_tracks": bool(trained.model.intervals.numpy()[1, 1].any()),
            }
        return content

    def spreads(self, trained: TrainedModel, pairs: Sequence[Pair]) -> Spreads | None:
        """Estimate spreads from the predictions, by the errors on tracks that networks have never seen."""
        from epixs.models.context.predict import spreads_of

        return spreads_of(trained, pairs)

    def expected_pearson(
        self, trained: TrainedModel, pairs: Sequence[Pair]
    ) -> npt.NDArray[np.float32] | None:
        """Estimate them from how well unseen tracks of the same biosamples and assays are predicted."""
        from epixs.models.context.predict import expected_of

        return expected_of(trained, pairs)

    def predictor(
        self, trained: TrainedModel, pairs: Sequence[Pair], store: str | Path, factors: Any = None
    ) -> Predict:
        """Predict from the tracks observed in a store."""
        from epixs.models.context.predict import predictor

        return predictor(trained, pairs, store)


def _not_prepared_for(axis: JointAxis) -> list[str]:
    """Name, per species, the assays that only others have, for which nothing is hidden in training."""
    remarks = []
    for part in axis.parts:
        lacking = [part.store_name(assay) for assay in lacking_assays(axis, (part.species,))]
        if lacking and len(part.training):
            names = ", ".join(lacking[:MOST_NAMED]) + (", ..." if len(lacking) > MOST_NAMED else "")
            remarks.append(
                f"{part.species} has no training experiment of {counted(len(lacking), 'assay')} that others "
                f"have ({names}): to impute them zero-shot, train with --target {part.species}"
            )
    return remarks


SIZES = ("members", "token", "heads", "hidden", "assay_factors")


def kept_size(axis: JointAxis) -> int:
    """Return how many numbers a model keeps about its errors and mixtures."""
    n_assays = len(axis.assays)
    of_species = len(PARTS) + 1 + (2 * (READINGS + 1) + len(PARTS) + 1 + n_assays) * n_assays
    return 1 + 4 * KNOTS + of_species * len(axis.parts) + axis.n_training


def statistics_size(axis: JointAxis) -> int:
    """Return how many numbers a model keeps about the tracks of an axis."""
    return sum(packed_size(*labels_of(axis, part, tracks_of(part))) for part in axis.parts)


KIND = Context()
