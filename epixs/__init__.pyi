# The public names, complete, in the order of the data flow. `epixs/__init__.py` reads this list, and so do
# type checkers, docs/api.md and the tests. Each verb of the command line is here under its name, but for
# `catalog`: a folder has that name, so the function is called `make_catalog`.

# Try everything on a simulated world
from .simulation.simulate import simulate as simulate
from .simulation.demo import demo as demo

# Genome and catalog
from .genome.assembly import load_assembly as load_assembly
from .genome.bed import read_regions as read_regions
from .catalog.portal import make_catalog as make_catalog
from .catalog.portal import select_experiments as select_experiments
from .catalog.experiments import read_catalog as read_catalog

# Tracks to a compendium
from .ingestion.lazy import open_tracks as open_tracks
from .cluster.client import open_client as open_client
from .ingestion.preview import preview as preview
from .ingestion.run import ingest as ingest
from .compendium.read import open_compendium as open_compendium
from .compendium.remove import remove as remove

# Content, progress and checks of stores and models
from .report.describe import status as status
from .report.describe import info as info
from .checks.verify import verify as verify
from .report.qc_page import qc as qc

# The joint axis of several compendia
from .catalog.pairs import read_pairs as read_pairs
from .axis.aliases import read_aliases as read_aliases
from .axis.join import joint_axis as joint_axis
from .axis.splits import split as split

# Sampling and models
from .sampling import Sampler as Sampler
from .models.kinds import new_sampler as new_sampler
from .training.dataset import training_dataset as training_dataset
from .training.dataset import held_out_dataset as held_out_dataset
from .models.avocado.network import DeepTensorFactorization as DeepTensorFactorization
from .models.avocado.network import build_model as build_model
from .models.folder import new_model as new_model
from .models.avocado.optimizer import RowwiseAdam as RowwiseAdam
from .models.context.network import ContextNetwork as ContextNetwork

# Training
from .config import Settings as Settings
from .models.settings import make_settings as make_settings
from .models.settings import read_settings as read_settings
from .training import callbacks as callbacks
from .training.run import train as train
from .training.extension import extend as extend
from .report.figures.curves import curves as curves
from .models.folder import save_model as save_model
from .models.folder import open_model as open_model

# Genome factors of other regions
from .factors.fit import fit_genome as fit_genome
from .factors.store import open_factors as open_factors

# Imputation and evaluation
from .imputation.write import open_imputed as open_imputed
from .imputation.write import impute as impute
from .evaluation.scores import evaluate as evaluate
from .report.tables import write_report as write_report
from .crossvalidation.run import crossvalidate as crossvalidate
from .guidance.plan import plan as plan
from .guidance.plan import Forecast as Forecast
from .report.plot import plot as plot
from .evaluation.comparison import tables as tables
from .report.tables import typeset as typeset
from .evaluation.species import species_differences as species_differences
from .evaluation.significance import paired_wilcoxon as paired_wilcoxon
from .evaluation.significance import bootstrap_interval as bootstrap_interval
from .evaluation.significance import challenge_ranking as challenge_ranking

# Tracks for genome browsers
from .exports.run import export as export
from .exports.browser.browse import browse as browse

# Tables and factors for other programs
from .exports.locus_table import export_locus as export_locus
from .exports.h5ad import export_factors as export_factors

# Errors
from .errors import EpixsError as EpixsError
from .errors import EpixsWarning as EpixsWarning
