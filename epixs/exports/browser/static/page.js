"use strict";

/* The page. igv.js draws it; its values come from /data, at the resolution of the screen. */

const HEIGHT = 90;
const element = (id) => document.getElementById(id);
const page = {
  browser: null, species: [], kept: [], current: [], shown: new Map(), found: new Map(), genes: false, asked: 0, answered: 0,
};
window.epixs = page;

async function ask(path, query) {
  document.body.dataset.asked = String(++page.asked);
  try {
    const answer = await fetch(query ? `${path}?${new URLSearchParams(query)}` : path);
    if (!answer.ok) throw new Error((await answer.text()).trim());
    return await answer.json();
  } finally {
    document.body.dataset.answered = String(++page.answered);
  }
}

/* A feature source of igv.js: values of one track, its signal or an end of its interval. */
class Signal {
  constructor(track, line) {
    Object.assign(this, { track, line });
    this.windowFunctions = ["mean", "min", "max"];
  }

  async getFeatures({ chr, start, end, bpPerPixel, windowFunction }) {
    const found = await ask("data", {
      track: this.track.id, line: this.line, chrom: chr, start: Math.max(0, Math.floor(start)), end: Math.ceil(end),
      bases_per_pixel: Math.max(0.000001, bpPerPixel).toFixed(6),
      how: this.windowFunctions.includes(windowFunction) ? windowFunction : "mean",
    });
    page.found.set(this, found);
    return found.value.map((value, at) => ({ chr, start: found.start[at], end: found.end[at], value }));
  }

  async getHeader() { return undefined; }
  supportsWholeGenome() { return false; }
}

/* A feature source of igv.js: genes. */
class Genes {
  async getFeatures({ chr, start, end }) {
    const genes = await ask("genes", { chrom: chr, start: Math.max(0, Math.floor(start)), end: Math.ceil(end) });
    return genes.map((gene) => ({ chr, start: gene.start, end: gene.end, name: gene.name, strand: gene.strand }));
  }

  async getHeader() { return undefined; }
  async defaultVisibilityWindow() { return undefined; }
  supportsWholeGenome() { return false; }
}

/* The signal as bars. If it has an interval: a pale band, and the signal as a line in it. */
function drawn(track) {
  const line = (line, how) => ({
    type: "wig", name: line, featureSource: new Signal(track, line), color: track.colour, graphType: "bar",
    autoscale: true, height: HEIGHT, ...how,
  });
  if (!track.interval) return line("signal");
  const tracks = [
    line("upper", { color: track.pale }), line("lower", { color: "rgb(255,255,255)", overflowColor: "rgba(0,0,0,0)" }),
    line("signal", { graphType: "line", color: track.line }),
  ];
  return { type: "merged", alpha: 1, autoscale: true, height: HEIGHT, tracks };
}

function nameOf(track) {
  const kind = track.kind !== "imputed" ? "observed" : track.trained_on ? "IMPUTED (trained on)" : "IMPUTED";
  return `${kind}: ${track.biosample}, ${track.assay}${track.compendium ? ` (${track.compendium})` : ""}`;
}

function configOf(track) {
  const config = {
    ...drawn(track), name: nameOf(track), id: `track-${track.id}`,
    autoscaleGroup: `${track.assay} ${track.units}`, removable: true,
    order: 10 + page.kept.length + (track.kind === "imputed" ? 1 : 0),
  };
  if (track.most_bases) config.visibilityWindow = track.most_bases;
  return config;
}

function chosenSpecies() { return page.species[element("species").selectedIndex]; }

function fill(select, names, wanted) {
  select.replaceChildren(...[...new Set(names)].sort().map((name) => new Option(name, name)));
  if (names.includes(wanted)) select.value = wanted;
}

/* The experiments that share the chosen labels, measured and imputed. */
function chosenTracks() {
  const order = (track) => (track.kind === "observed" ? 0 : 1);
  return chosenSpecies().tracks
    .filter((track) => track.biosample === element("biosample").value && track.assay === element("assay").value)
    .sort((a, b) => order(a) - order(b));
}

async function answered() {
  for (let quiet = 0; quiet < 5; quiet = page.asked === page.answered ? quiet + 1 : 0) {
    await new Promise(requestAnimationFrame);
  }
}

/* Wait until all is drawn: if a track is removed during drawing, igv.js fails with errors. */
async function settled() {
  await answered();
  await page.browser.updateViews();
}

/* After each removal igv.js rescales the remaining tracks, again without waiting. */
async function remove(names) {
  for (const name of names) {
    await settled();
    page.browser.removeTrackByName(name);
    page.shown.delete(name);
    for (const source of [...page.found.keys()]) if (nameOf(source.track) === name) page.found.delete(source);
  }
  await settled();
}

async function show() {
  const wanted = chosenTracks();
  await remove(page.current.filter((name) => !page.kept.includes(name)));
  page.current = [];
  for (const track of wanted) {
    const config = configOf(track);
    if (!page.kept.includes(config.name)) await page.browser.loadTrack(config);
    page.current.push(config.name);
    page.shown.set(config.name, track);
  }
  await settled();
  say();
}

/* What is shown: measured or imputed, in which units, and whether anything is known here. */
function say() {
  const kinds = chosenTracks().map((track) => track.kind), shown = [...page.shown.values()];
  const measured = kinds.includes("observed") ? (kinds.includes("imputed") ? "" : "measured, not imputed here")
    : kinds.length ? "never measured: imputed alone" : "neither measured nor imputed here";
  const units = [...new Set(shown.map((track) => track.units))].join(" and ");
  const band = shown.some((track) => track.interval) ? "pale band: holds 80 % of the bins" : "";
  const { start, end } = page.browser.referenceFrameList[0];
  const here = ({ start: starts, end: ends }) => starts.some((first, at) => first < end && ends[at] > start);
  const nothing = page.found.size && ![...page.found.values()].some(here)
    ? `NO DATA HERE: they begin at ${chosenSpecies().locus}` : "";
  element("said").textContent = [nothing, measured, units, band].filter(Boolean).join("; ");
}

function choices() {
  const tracks = chosenSpecies().tracks;
  fill(element("biosample"), tracks.map((track) => track.biosample), element("biosample").value);
  fill(element("assay"), tracks.map((track) => track.assay), element("assay").value);
}

async function open(locus, chosen) {
  const group = chosenSpecies();
  const reference = {
    id: group.assembly, name: `${group.species} (${group.assembly})`, format: "chromsizes",
    fastaURL: new URL(`sizes?genome=${group.genome}`, location).href, wholeGenomeView: false, indexed: false,
  };
  Object.assign(page, { kept: [], current: [] });
  for (const kept of [page.shown, page.found]) kept.clear();
  if (page.browser) {  // one browser for all species: a removed one of igv.js still reacts, with errors
    await settled();
    await page.browser.loadGenome({ ...reference, locus: locus || group.locus });
  } else {
    page.browser = await igv.createBrowser(element("igv"), {
      reference, locus: locus || group.locus, loadDefaultGenomes: false, genomeList: [], showIdeogram: false,
      showSVGButton: true, showChromosomeWidget: true, showSampleNames: false, tracks: [],
      search: { url: new URL("search", location).href + "?q=$FEATURE$", coords: 0 },
    });
    // Without an ideogram, igv.js takes the first track for its ruler, and makes it as low again and again.
    Object.defineProperty(page.browser, "rulerTrackView", {
      get() { return { track: this.trackViews[0].track, setTrackHeight() {} }; },
    });
    const style = document.createElement("style");  // igv.js cuts off the lower ends of letters, and underscores
    style.textContent = ".igv-track-label { height: auto; line-height: 1.35; padding-bottom: 2px; }";
    page.browser.root.getRootNode().append(style);
    page.browser.on("locuschange", () => answered().then(say));
  }
  if (page.genes) {
    await page.browser.loadTrack({
      type: "annotation", name: "genes", featureSource: new Genes(), height: 60, displayMode: "EXPANDED",
      color: "rgb(60,60,60)", order: 1, visibilityWindow: 20000000,
    });
  }
  for (const view of [...page.browser.trackViews]) if (view.track.type === "sequence") page.browser.removeTrack(view.track);
  choices();
  const first = group.tracks.find((track) => track.id === chosen)
    || group.tracks.find((track) => track.kind === "imputed") || group.tracks[0];
  element("biosample").value = first.biosample;
  element("assay").value = first.assay;
  await show();
}

/* Run tasks one after another, each to its end. */
let running = Promise.resolve();
let waiting = 0;
function guarded(action) {
  return () => {
    document.body.dataset.ready = "false";
    waiting += 1;
    running = running.then(action).catch((error) => {
      element("said").textContent = String(error.message || error);
    }).finally(() => {
      waiting -= 1;
      document.body.dataset.ready = String(waiting === 0);
    });
  };
}

async function start() {
  history.replaceState(null, "", location.pathname);  // the cookie has the token now
  const found = await ask("catalogue");
  Object.assign(page, { species: found.species, genes: found.genes });
  element("species").replaceChildren(...found.species.map((group) => new Option(`${group.species} (${group.assembly})`)));
  element("species").onchange = guarded(() => open());
  element("biosample").onchange = element("assay").onchange = guarded(show);
  element("keep").onclick = () => { page.kept = [...new Set([...page.kept, ...page.current])]; };
  element("clear").onclick = guarded(async () => {
    await remove(page.kept.filter((name) => !page.current.includes(name)));
    page.kept = [];
  });
  const species = found.species.findIndex((group) => group.tracks.some((track) => track.id === found.chosen));
  element("species").selectedIndex = Math.max(0, species);
  await open(found.locus, found.chosen);
}

guarded(start)();
