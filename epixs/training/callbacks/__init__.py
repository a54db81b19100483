"""Callbacks of a training run, which also work in a user's own `model.fit`."""

from epixs.training.callbacks.best_weights import BestWeights as BestWeights
from epixs.training.callbacks.deadline import Deadline as Deadline
from epixs.training.callbacks.history import History as History
from epixs.training.callbacks.non_finite import StopOnNonFinite as StopOnNonFinite
from epixs.training.callbacks.progress import EpochReport as EpochReport
from epixs.training.callbacks.progress import ProgressReport as ProgressReport
from epixs.training.callbacks.scores import HeldOutScores as HeldOutScores
from epixs.training.callbacks.step_checkpoint import StepCheckpoint as StepCheckpoint
