"""Examples, one per verb, shown by its `--help`. In this order they form one session, which a test runs."""

EXAMPLES = {
    "simulate": "epixs simulate world --size tiny",
    "catalog": "epixs catalog world/metadata.tsv --out world/catalog.tsv",
    "ingest": """\
epixs ingest world/catalog.tsv --species mouse \\
  --regions world/mouse.bed --out mouse.zarr""",
    "status": "epixs status mouse.zarr",
    "info": "epixs info mouse.zarr",
    "verify": "epixs verify mouse.zarr --sources",
    "qc": "epixs qc mouse.zarr --report mouse-qc",
    "remove": 'epixs remove mouse.zarr SIM10107 --reason "wrong antibody"',
    "split": "epixs split mouse.zarr --by experiment --folds 3 --out folds",
    "train": """\
printf 'species\\tbiosample\\tassay\\n' > exclude.tsv
printf 'mouse\\tsimulated-mouse-00\\tChIP-seq_H3K27ac_signal_p-value\\n' >> exclude.tsv
epixs train mouse.zarr --out model --exclude exclude.tsv --model avocado""",
    "curves": "epixs curves model --out curves.png",
    "extend": """\
epixs ingest world/catalog.tsv --species human \\
  --regions world/human.bed --out human.zarr
epixs extend model human.zarr --out model2""",
    "fit-genome": "epixs fit-genome model mouse.zarr --out factors.zarr",
    "impute": "epixs impute model mouse.zarr --out imputed.zarr",
    "evaluate": "epixs evaluate imputed.zarr mouse.zarr --report scores",
    "crossvalidate": """\
cat > crossvalidation.toml <<'END'
[split]
store = "mouse.zarr"
folds = 2
[[training_set]]
name = "mouse"
[[training_set]]
name = "mouse and human"
others = ["human.zarr"]
[[model]]
name = "paper"
kind = "avocado"
hidden = [16, 16]
training = {epochs = 2}
[run]
folder = "crossvalidation"
END
epixs crossvalidate crossvalidation.toml""",
    "tables": "epixs tables crossvalidation --format markdown",
    "plan": """\
printf 'species\\tbiosample\\tassay\\n' > panel.tsv
for track in liver/H3K4me1 liver/H3K4me3 liver/H3K36me3 \\
  spleen/H3K4me1 spleen/H3K4me3 spleen/H3K36me3 \\
  lung/H3K4me1 lung/H3K36me3; do
  printf "cattle\\t${track%/*}\\tChIP-seq_${track#*/}_signal_p-value\\n" >> panel.tsv
done
epixs plan panel.tsv --like human.zarr --draws 1 --max-minutes 1""",
    "plot": """\
epixs plot imputed.zarr mouse.zarr --biosample simulated-mouse-00 \\
  --assay ChIP-seq_H3K27ac_signal_p-value \\
  --locus chr19:10,000,000-10,050,000 --out track.png""",
    "export": "epixs export mouse.zarr imputed.zarr --bigwig tracks",
    "browse": "epixs browse mouse.zarr imputed.zarr",
    "demo": "epixs demo demo --size tiny",
}
"""Shell commands by verb. Each needs the files made by those before it, in the same folder."""
