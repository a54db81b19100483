"""Draw batches, (seed, epoch, step) -> bins, experiments and values: a pure function, in or out of core."""

from epixs.sampling.batch import Batch as Batch
from epixs.sampling.batch import BatchSampler as BatchSampler
from epixs.sampling.batch import InputSpec as InputSpec
from epixs.sampling.sampler import Sampler as Sampler
