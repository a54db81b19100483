"""The kind of model `avocado`, for cost, training, imputation and the command line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import JointAxis
from epixs.catalog.pairs import Pair
from epixs.config import Settings
from epixs.errors import AxisError
from epixs.models.avocado.settings import AvocadoSettings
from epixs.models.avocado.size import count_parameters
from epixs.models.avocado.zero_shot import plan_zero_shot, remarks_on_shaping
from epixs.models.kinds import Kind, PlanNotes, Predict
from epixs.models.stores import check_bins, check_species

if TYPE_CHECKING:
    from epixs.models.folder import TrainedModel


class Avocado(Kind):
    """Deep tensor factorization: factors of biosamples, assays and positions through dense layers."""

    settings = AvocadoSettings
    has_genome_factors = True
    can_be_extended = True
    limits = (
        "It knows the regions that it was trained on; for others, `epixs fit-genome` comes first.",
        "Zero-shot tracks are often worse than plain averages of the biosample's other tracks.",
    )
    smaller = "reduce genome_factors and hidden"

    def build(self, axis: JointAxis, settings: Settings, *, precision: str = "float32") -> Any:
        """Make the model."""
        from epixs.models.avocado.network import build_model

        model = settings.model
        return build_model(
            axis,
            biosample_factors=model.biosample_factors,
            assay_factors=model.assay_factors,
            genome_factors=model.genome_factors,
            hidden=model.hidden,
            genome_dropout=model.genome_dropout,
            zero_shot=model.zero_shot,
            target=model.target,
            precision=precision,
        )

    def parameters(self, axis: JointAxis, settings: Settings) -> int:
        """Number of parameters."""
        return count_parameters(axis, settings.model)

    def predictor(
        self, trained: TrainedModel, pairs: Sequence[Pair], store: str | Path, factors: Any = None
    ) -> Predict:
        """Predict from genome factors, so that nothing is read from the store."""
        from epixs.models.avocado.predict import predictor

        return predictor(trained, pairs, factors)

    def settle(self, axis: JointAxis, settings: Settings) -> Settings:
        """Name the target species of zero-shot imputation."""
        model = settings.model
        zero_shot = plan_zero_shot(axis, enabled=model.zero_shot, target=model.target)
        return settings.replace(target=", ".join(zero_shot.targets))

    def working_bytes(self, axis: JointAxis, settings: Settings, batch_size: int) -> int:
        """Estimate the memory of the hidden layers' activations, their gradients and one copy."""
        return batch_size * int(sum(settings.model.hidden)) * 4 * 3

    def optimizer(self, model: Any, settings: Settings, learning_rate: Any) -> Any:
        """Make row-wise Adam, with a higher learning rate and no weight decay for genome factors."""
        from epixs.models.avocado.optimizer import RowwiseAdam

        decay = settings.training.weight_decay
        optimizer = RowwiseAdam(
            learning_rate, row_multiplier=settings.model.genome_multiplier, weight_decay=decay or None
        )
        if decay:
            optimizer.exclude_from_weight_decay(var_list=model.genome.tables)
        return optimizer

    def hidden_widths(self, settings: Settings) -> tuple[int, ...]:
        """Widths of the hidden layers."""
        return tuple(settings.model.hidden)

    def in_micro_batches(self, model: Any, count: int) -> None:
        """Let the model compute each batch in `count` micro-batches of its positions."""
        model.in_parts(count)

    @contextlib.contextmanager
    def as_kept(self, model: Any) -> Iterator[None]:
        """Set float32 in the saved model's configuration."""
        precision = model.settings["precision"]
        model.settings["precision"] = "float32"
        try:
            yield
        finally:
            model.settings["precision"] = precision

    def settings_of(self, model: Any) -> AvocadoSettings | None:
        """Read the settings of a `DeepTensorFactorization`."""
        from epixs.models.avocado.network import DeepTensorFactorization

        if not isinstance(model, DeepTensorFactorization):
            return None
        names = ("hidden", "biosample_factors", "assay_factors", "genome_factors", "genome_dropout")
        sizes = {name: model.settings[name] for name in names}
        return AvocadoSettings(**sizes, zero_shot=bool(model.settings["detached_assays"]))

    def label_factors(self, model: Any) -> dict[str, npt.NDArray[np.float32]]:
        """Return the factors of assays and of biosamples."""
        return {name: np.asarray(getattr(model, name).table.numpy()) for name in ("assay", "biosample")}

    def check_store(self, trained: TrainedModel, store: str | Path, factors: Any = None) -> str:
        """Check that the store's bins are those of the model, or of the given genome factors."""
        species = check_species(trained, store)
        known = trained.axis.part(species)
        if factors is not None:
            if factors.plan.model != trained.fingerprint:
                raise AxisError(
                    f"{factors.path} belongs to another model than {trained.folder}",
                    got=factors.plan.model,
                    expected=trained.fingerprint,
                    next_step="fit them with `epixs fit-genome` and this model",
                )
            known = factors.plan.part
            if known.species != species:
                raise AxisError(f"{factors.path}: species", got=known.species, expected=species)
        check_bins(trained, store, known)
        return species

    def plan_notes(self, axis: JointAxis, settings: Settings) -> PlanNotes:
        """List the targets of zero-shot imputation, and the number of tracks that shape genome factors."""
        model = settings.model
        zero_shot = plan_zero_shot(axis, enabled=model.zero_shot, target=model.target)
        targets = f"{', '.join(zero_shot.targets) or 'none'} ({zero_shot.reason})"
        shaping = [f"{zero_shot.shaping[part.species]} tracks" for part in axis.parts]
        return PlanNotes(
            [("zero-shot target", targets)],
            {"shape its genome factors": shaping},
            remarks_on_shaping(axis, zero_shot),
        )

    def described(self, axis: JointAxis, settings: Settings) -> list[tuple[str, str]]:
        """List the sizes, and the target of zero-shot imputation."""
        model = settings.model
        genome = " + ".join(map(str, model.genome_factors))
        factors = f"biosample {model.biosample_factors}, assay {model.assay_factors}, genome {genome}"
        return [
            ("hidden layers", ", ".join(map(str, model.hidden))),
            ("factors", factors),
            ("zero-shot target", model.target or ("not recorded" if model.zero_shot else "none")),
        ]

    def extension_settings(self, settings: Settings, axis: JointAxis, known: JointAxis) -> Settings:
        """Use the learning rate of genome factors for everything, because only factors are fitted."""
        return settings.replace(
            learning_rate=settings.training.learning_rate * settings.model.genome_multiplier,
            genome_multiplier=1.0,
        )

    def take_over(self, model: Any, axis: JointAxis, known: TrainedModel) -> None:
        """Copy factors and layers, and freeze them."""
        from epixs.models.avocado.growth import copy_known, freeze_known

        copy_known(model, axis, known)
        freeze_known(model, axis, known)


KIND = Avocado()
