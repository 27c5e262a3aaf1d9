// The drawing board of jingles.control.draw: lanes of curves over one time axis, and the sound they led to below them.
// What is drawn is `values`, float32 (rows, frames): exactly the array that generation takes. -1 means "not controlled".
// No dependencies. Python holds the state (traits of the model); a view keeps only tool, cursor and what can be undone.
// `board` makes the view; jingles/studio.js puts the rest of the studio around it.

const LEFT = 84, RIGHT = 10, GAP = 8, AXIS = 24, MEL = 110, LOUD = 46;      // pixels
const MIDDLE = 48;                      // C3, where a lane of notes begins as long as it need not begin elsewhere
const NOTES = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"];
const TOOLS = { draw: ["✎", "Draw"], line: ["╱", "Line"], smooth: ["∿", "Smooth"], erase: ["⌫", "Erase"], select: ["⬚", "Select"], band: ["⇕", "Band"] };       // symbol and word; a narrow board has room for the symbol only
const HELP = {
  draw: "Draw: drag over a lane", line: "Straight line: drag from its start to its end",
  smooth: "Smooth: drag over a rough part", erase: "Erase: leave a region to the model",
  select: "Select a stretch of time: drag over lanes, then drag it, or its edges",
  band: "Band: drag away from a curve to say how far a take may go from it",
};
const WELCOME = "Draw in a lane; the model fills in the grey parts.";
const KEYS = "arrow keys move and change, Shift+arrow carries the value along, Page Up and Down change lane, Delete erases, 1 to 6 choose a tool, L locks the lane, Ctrl+Z undoes; plus and minus zoom, 0 shows all, Z what is selected; "
  + "with the tool Select, Shift+arrow selects, Alt+arrow moves what is selected, arrow up and down scale it, Ctrl+C, Ctrl+V and Ctrl+D copy, paste and repeat it, Escape ends the selection; "
  + "with the tool Band, arrow up and down widen and narrow the band, Delete takes it away";
const MAGMA = [[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]];

const STYLE = `
.jingles-draw { --ink: var(--jp-ui-font-color1, #222); --faint: var(--jp-border-color2, #ddd); --paper: var(--jp-layout-color0, #fff);
  --open: var(--jp-layout-color2, #eee); --brand: var(--jp-brand-color1, #1976d2); --dim: var(--jp-ui-font-color2, #666); --on-brand: #fff;
  color: var(--ink); background: var(--paper); font: 13px var(--jp-ui-font-family, system-ui, sans-serif); padding: 8px; border-radius: 6px; container-type: inline-size; }
@media (prefers-color-scheme: dark) { body:not([data-jp-theme-light]) .jingles-draw { --ink: #eee; --faint: #555; --paper: #111; --open: #2a2a2a; --brand: #64a9f0; --dim: #aaa; --on-brand: #111; } }
body[data-jp-theme-light=false] .jingles-draw { color-scheme: dark; --on-brand: #111; }
.jingles-draw .bar { display: flex; flex-wrap: wrap; gap: 6px 10px; align-items: center; margin-bottom: 6px; }
.jingles-draw .group { display: flex; align-items: center; gap: 3px; }
.jingles-draw .group > *, .jingles-draw .choice > button { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--faint); border-radius: 4px; padding: 3px 8px; height: 30px; box-sizing: border-box; white-space: nowrap; }
.jingles-draw .group > label { border: 0; padding: 0 2px; background: none; display: flex; align-items: center; gap: 4px; }
.jingles-draw .group > .choice { position: relative; padding: 0; border: 0; }
.jingles-draw .group input:not([type=checkbox]), .jingles-draw .group select { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--faint); border-radius: 4px; height: 30px; box-sizing: border-box; padding: 2px 5px; }
.jingles-draw button { cursor: pointer; } .jingles-draw button:disabled { opacity: .4; cursor: default; }
.jingles-draw button:hover:not(:disabled) { border-color: var(--dim); }
.jingles-draw button[aria-pressed=true] { border-color: var(--brand); box-shadow: inset 0 0 0 1px var(--brand); }
.jingles-draw .word { margin-left: 4px; }
.jingles-draw .field { position: relative; }
.jingles-draw .names, .jingles-draw .below { position: absolute; left: 0; bottom: 0; touch-action: manipulation; }
.jingles-draw .names { top: 0; width: ${LEFT}px; cursor: pointer; } .jingles-draw .below { right: 0; touch-action: pan-y; }
.jingles-draw .timebar { display: flex; gap: 3px; align-items: center; margin: 3px ${RIGHT}px 2px 0; } .jingles-draw .timebar .group { flex: 0 0 ${LEFT - 3}px; gap: 2px; }
.jingles-draw .timebar .group > button { flex: 1; padding: 0; height: 22px; } .jingles-draw .overview { flex: 1; position: relative; height: 10px; background: var(--open); border-radius: 6px; touch-action: none; overflow: hidden; }
.jingles-draw .overview div { position: absolute; top: 0; bottom: 0; min-width: 24px; box-sizing: border-box; background: var(--dim); opacity: .45; border-radius: 6px; } .jingles-draw .overview:hover div { opacity: .75; } .jingles-draw .overview.whole div { opacity: .15; }
@media (pointer: coarse) { .jingles-draw .timebar .group > button { height: 30px; } .jingles-draw .overview { height: 22px; border-radius: 11px; } }
.jingles-draw .names span { display: none; position: absolute; right: 12px; color: var(--dim); font-size: 11px; }
@media (pointer: coarse) { .jingles-draw .names span { display: block; } }
.jingles-draw .menu { position: absolute; z-index: 10; top: 100%; left: 0; display: flex; gap: 10px; background: var(--paper); border: 1px solid var(--dim); border-radius: 4px; padding: 6px; max-width: 80vw; overflow: auto; }
.jingles-draw .menu[hidden], .jingles-draw .notice:empty { display: none; } .jingles-draw .menu b { padding: 2px 6px; }
.jingles-draw .menu div { display: flex; flex-direction: column; } .jingles-draw .menu button { font: inherit; color: inherit; background: none; border: 0; border-radius: 3px; padding: 3px 6px; text-align: left; white-space: nowrap; }
.jingles-draw .menu button:focus, .jingles-draw .menu button:hover { background: var(--open); outline: none; }
.jingles-draw .padlock { position: absolute; left: 0; width: 24px; height: 28px; padding: 5px; border: 0; background: none; color: var(--ink); opacity: .3; }
.jingles-draw .padlock:hover { opacity: .8; } .jingles-draw .padlock[aria-pressed=true] { opacity: 1; color: var(--brand); box-shadow: none; } .jingles-draw .padlock svg { display: block; width: 14px; height: 18px; }
.jingles-draw .region { margin: 6px 0 0; } .jingles-draw .region[hidden] { display: none; } .jingles-draw .region > span { color: var(--dim); font-variant-numeric: tabular-nums; }
.jingles-draw .notice { border-left: 4px solid #c62828; background: var(--open); padding: 4px 8px; margin-bottom: 4px; }
.jingles-draw canvas { display: block; width: 100%; border-radius: 3px; } .jingles-draw .field > canvas { touch-action: none; cursor: crosshair; }
.jingles-draw canvas:focus-visible, .jingles-draw button:focus-visible, .jingles-draw input:focus-visible, .jingles-draw select:focus-visible { outline: 2px solid var(--brand); outline-offset: 1px; }
.jingles-draw .said { min-height: 1.4em; color: var(--dim); padding: 2px 0; }
@container (max-width: 1210px) { .jingles-draw .word { display: none; } }
@container (max-width: 480px) { .jingles-draw .bar > .group { flex-wrap: wrap; } .jingles-draw .menu { max-width: 60vw; flex-direction: column; max-height: 50vh; } .jingles-draw .group { gap: 2px; } .jingles-draw .group > *, .jingles-draw .choice > button { padding: 3px 6px; } }`;

// ---- the array

export function floats(view) {          // what a DataView holds, as a Float32Array of its own
  return view?.byteLength ? new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength)) : new Float32Array(0);
}

const at = (s, lane, f) => lane.row * s.frames + f;
const hop = (s) => Math.max(1, Math.round(gridStep(s) || (s.view ? Math.min(s.rate / 10, viewSpan(s) / 30) : s.rate / 10))), lastStep = (s) => Math.max(0, s.frames - hop(s));      // the keyboard's step, in frames
const clamp = (v, low, high) => Math.min(high, Math.max(low, v));
const together = (s, lane) => s.lanes.filter((l) => l === lane || (lane.group && l.group === lane.group));

const least = (lane) => lane.gate ? 1 / lane.steps : 0;         // the lowest note that can be drawn: where there is a gate, 0 is none
const other = (s, label) => s.lanes.find((l) => l.label === label);

function agree(s, lane, f) {            // a pitch has a voice, what has no voice has no pitch, and a voice without a pitch leaves it open
  const v = s.values[at(s, lane, f)];
  if (lane.names || lane.named) agreeOnName(s, lane, f, v);
  if (lane.gate && v > 0) s.values[at(s, other(s, lane.gate), f)] = 1;
  if (!lane.gates) return;
  const i = at(s, other(s, lane.gates), f);
  if (v === 0) s.values[i] = 0; else if (s.values[i] === 0) s.values[i] = -1;
}

const nameOf = (lane, v) => (Math.round(lane.midi + lane.steps * v) % 12 + 12) % 12;

function agreeOnName(s, lane, f, v) {   // a pitch names its chroma, and a chroma opens a pitch of another name
  if (lane.names && v > 0) s.values[at(s, other(s, lane.names), f)] = nameOf(lane, v) / 11;
  if (!lane.named || v < 0) return;
  const pitch = other(s, lane.named), i = at(s, pitch, f);
  if (s.values[i] <= 0 || nameOf(pitch, s.values[i]) !== Math.round(11 * v)) s.values[i] = -1;
}

function tidy(s, lane, v) {             // the value that a lane can hold
  if (lane.kind === "gate") return v < .5 ? 0 : 1;
  return lane.kind === "notes" ? Math.max(least(lane), s.snap ? Math.round(v * lane.steps) / lane.steps : v) : v;
}

export function put(s, lane, f, v) {    // one frame of a lane; lanes of a group are controlled together and share what there is
  const others = together(s, lane).filter((l) => l !== lane);
  s.values[at(s, lane, f)] = tidy(s, lane, v);
  agree(s, lane, f);
  for (const l of others) if (s.values[at(s, l, f)] < 0) s.values[at(s, l, f)] = 0;
  const sum = others.reduce((total, l) => total + s.values[at(s, l, f)], 0);
  if (sum > 1 - v) for (const l of others) s.values[at(s, l, f)] *= (1 - v) / sum;
  if (lane.group && v <= 0 && sum <= 0) for (const l of together(s, lane)) s.values[at(s, l, f)] = -1;      // none of them is no answer: the model chooses
}

export function stroke(s, lane, from, to) {     // a straight line between two points {f, v}
  const step = from.f <= to.f ? 1 : -1;
  for (let f = from.f; f !== to.f + step; f += step)
    put(s, lane, f, from.f === to.f ? to.v : from.v + (to.v - from.v) * (f - from.f) / (to.f - from.f));
}

export function erase(s, lane, from, to) {
  for (let f = Math.min(from.f, to.f); f <= Math.max(from.f, to.f); f++) for (const l of together(s, lane)) { s.values[at(s, l, f)] = -1; agree(s, l, f); }
}

export function smooth(s, lane, from, to) {     // the mean of the frames around, for notes the middle one; what is open, or no pitch, stays so
  const reach = Math.round(s.rate / 12), old = s.values.slice();
  for (let f = Math.min(from.f, to.f) - reach; f <= Math.max(from.f, to.f) + reach; f++) {
    if (f < 0 || f >= s.frames) continue;
    for (const l of together(s, lane)) {
      const near = [], known = (g) => old[at(s, l, g)] >= least(l), names = l.kind === "gate" || (l.kind === "notes" && (s.snap || !l.gate));
      for (let g = Math.max(0, f - 2); g <= Math.min(s.frames - 1, f + 2); g++) if (known(g)) near.push(old[at(s, l, g)]);
      if (!known(f)) continue;
      s.values[at(s, l, f)] = names ? near.sort((a, b) => a - b)[near.length >> 1] : near.reduce((a, b) => a + b) / near.length;
      if (l.kind === "gate") agree(s, l, f);
    }
  }
}

// ---- lanes that go together, and lanes that are locked

const RELATED = ["names", "named", "gate", "gates"];

export function family(s, lane) {       // the lanes that may change when this one does
  const found = new Set([lane]), kin = (a, b) => (a.group && a.group === b.group) || RELATED.some((k) => a[k] === b.label || b[k] === a.label);
  for (const one of found) for (const l of s.lanes) if (kin(one, l)) found.add(l);
  return [...found];
}

const featureOf = (lane) => lane.group || lane.label;

export const isLocked = (s, lane) => family(s, lane).some((l) => s.locked.includes(featureOf(l)));

function toggleLock(s, lane) {          // with all lanes that go with it; Python keeps it, too
  const lock = !isLocked(s, lane), those = [...new Set(family(s, lane).map(featureOf))];
  s.locked = [...s.locked.filter((k) => !those.includes(k)), ...(lock ? those : [])];
  if (s.region) setRegion(s, regionOf(s, s.region.from, s.region.to, s.region.lanes.map((k) => other(s, k))));
  ask(s, { kind: "lock", features: s.locked }); refresh(s);
  s.say(`${those.join(", ")}: ${lock ? "locked; presets, morphs and files leave that as it is, too" : "unlocked"}`);
}

function tellLocked(s, lane) { s.say(`${lane.label} is locked; click the padlock beside its name, or press L, to change it`); }

// ---- bands: how far a take may go from a curve. `s.widths` is {feature: half the width of its band, frame by frame}, over the whole
// length whatever their number; the objects in it are never changed, so that what can be undone keeps the old ones

const leastWidth = (lane) => lane.kind === "notes" ? .5 / lane.steps : .05;    // where none is drawn yet in a lane that has a band, and a step of the keyboard
const banded = (lane) => lane.kind !== "gate";
const widthsOf = (s, lane) => s.widths[featureOf(lane)];

export function widthAt(s, lane, f) {
  const w = widthsOf(s, lane);
  return w ? w[Math.min(w.length - 1, Math.floor((f + .5) * w.length / s.frames))] : leastWidth(lane);
}

export function setWidths(s, lane, from, to, width) {   // `width(f)` from the frame `from` up to `to`
  const now = Array.from({ length: s.frames }, (_, f) => +(f >= from && f < to ? clamp(width(f), 0, 1) : widthAt(s, lane, f)).toFixed(4));
  s.widths = { ...s.widths, [featureOf(lane)]: now };
}

export function endBand(s, lane) { const { [featureOf(lane)]: _, ...others } = s.widths; s.widths = others; }

function bandStroke(s, lane, from, to) { // the pointer says how far from the curve; around it, or in all of what is selected
  const reach = Math.max(1, Math.round(s.rate / 20)), [a, b] = from.f <= to.f ? [from, to] : [to, from], inRegion = s.region?.lanes.includes(lane.label) && to.f >= s.region.from && to.f < s.region.to;
  const away = (f) => { const v = s.values[at(s, lane, f)], p = a.f === b.f ? to.v : a.v + (b.v - a.v) * clamp((f - a.f) / (b.f - a.f), 0, 1); return v < 0 ? widthAt(s, lane, f) : Math.abs(p - v); };
  const here = away(to.f), [first] = cellAt(s, a.f), [, last] = cellAt(s, b.f), grid = gridStep(s) > 0;
  if (inRegion) setWidths(s, lane, s.region.from, s.region.to, () => here);
  else setWidths(s, lane, grid ? first : a.f - reach, grid ? last : b.f + reach + 1, (f) => away(clamp(f, a.f, b.f)));
}

function changeBands(s, act) {          // one thing that can be undone
  const before = s.widths;
  act();
  if (s.widths !== before) { remember(s, undefined, before); tellBands(s); refresh(s); }
}

function tellBands(s) {
  if (s.listens !== HEARD || s.model.get("lasting")) layBands(s);
  ask(s, { kind: "band", widths: s.widths });
}

const bandShelf = (s) => `${shelf(s)}:bands`;
function layBands(s) { try { localStorage.setItem(bandShelf(s), JSON.stringify(s.widths)); } catch { /* as for the curves */ } }

export function fitBands(s, widths) {    // can that be bands of this board?
  return widths && typeof widths === "object" && Object.entries(widths).every(([k, w]) => s.lanes.some((l) => featureOf(l) === k) && Array.isArray(w) && w.length && w.every((v) => v >= 0 && v <= 1));
}

function takeUpBands(s) {
  let widths = null;
  try { widths = JSON.parse(localStorage.getItem(bandShelf(s))); if (!s.model.get("lasting")) localStorage.removeItem(bandShelf(s)); } catch { return; }
  if (fitBands(s, widths) && JSON.stringify(widths) !== JSON.stringify(s.widths)) changeBands(s, () => { s.widths = widths; });
}

function heardBands(s) {                // Python has them; a gesture that is under way is told at its end
  const widths = s.model.get("widths") || {};
  if (!s.drag && JSON.stringify(widths) !== JSON.stringify(s.widths)) { s.widths = widths; refresh(s); }
}

const widthText = (lane, w) => lane.kind === "notes" ? `${+(w * lane.steps).toFixed(1)} st` : `${Math.round(100 * w)} %`;
const BAND_WIDTHS = { notes: { "± ½ semitone": .5, "± 1 semitone": 1, "± 3 semitones": 3, "± 1 octave": 12 }, level: { "± 5 %": .05, "± 10 %": .1, "± 20 %": .2, "± 40 %": .4 } };
const NO_BAND = "no band";

function bandMenu(s) {                  // a width for the whole length, or for what is selected
  const lanes = s.padlocks.map(([lane]) => lane).filter(banded), widths = (lane) => BAND_WIDTHS[lane.kind] || BAND_WIDTHS.level;
  return menu("± ▾", "Width of the band around a curve, or of what is selected of it", lanes.map((lane) => [featureOf(lane), [NO_BAND, ...Object.keys(widths(lane))]]), (feature, name) => {
    const lane = lanes.find((l) => featureOf(l) === feature), region = s.region?.lanes.includes(lane.label) ? s.region : { from: 0, to: s.frames }, width = widths(lane)[name] / (lane.kind === "notes" ? lane.steps : 1);
    if (isLocked(s, lane)) tellLocked(s, lane);
    else changeBands(s, () => { if (name === NO_BAND) endBand(s, lane); else setWidths(s, lane, region.from, region.to, () => width); });
  });
}

function widen(s, lane, by, from, to) { // with the keyboard
  if (isLocked(s, lane)) { tellLocked(s, lane); return; }
  if (!banded(lane)) { s.say(`${lane.label} is on or off; it has no band`); return; }
  const [a, b] = s.region?.lanes.includes(lane.label) ? [s.region.from, s.region.to] : [from, to];
  changeBands(s, () => setWidths(s, lane, a, b, (f) => widthAt(s, lane, f) + by * leastWidth(lane)));
}

// ---- the grid of the tempo: a beat is a quarter note, four are a bar, and the first begins at 0

export const gridStep = (s) => s.grid?.division ? 60 / s.grid.bpm / s.grid.division * s.rate : 0;       // frames, not whole ones; 0 without a grid

export function onGrid(s, f) {          // the line of the grid nearest to a frame, as a whole frame of the board
  const g = gridStep(s);
  return clamp(Math.round(g ? Math.round(f / g) * g : f), 0, s.frames);
}

export function cellAt(s, f) {          // the cell of the grid that a frame is in: [first, first of the next)
  const g = gridStep(s), edge = (k) => clamp(Math.round(k * g), 0, s.frames);
  if (!g) return [f, f + 1];
  const k = Math.floor((f + .5) / g);
  return [edge(k), edge(k + 1)];
}

export function steps(s, lane, from, to) {      // the cells between two points, each at one value: drawing on the grid
  const [start] = cellAt(s, Math.min(from.f, to.f)), [, stop] = cellAt(s, Math.max(from.f, to.f)), wide = to.f - from.f;
  for (let f = start; f < stop;) {
    const next = Math.max(f + 1, cellAt(s, f)[1]), share = wide ? clamp(((f + next - 1) / 2 - from.f) / wide, 0, 1) : 1, v = from.v + (to.v - from.v) * share;
    stroke(s, lane, { f, v }, { f: next - 1, v });
    f = next;
  }
}

// ---- a stretch of time in some lanes, {from, to, lanes}: frames from `from` up to `to`, and the labels of lanes

export function regionOf(s, from, to, lanes = s.lanes) {        // with all lanes that go with these, without those that are locked; null where nothing is left
  const [a, b] = [Math.min(from, to), Math.max(from, to)].map((f) => onGrid(s, f));
  const labels = s.lanes.filter((l) => lanes.some((one) => family(s, one).includes(l)) && !isLocked(s, l)).map((l) => l.label);
  return b > a && labels.length ? { from: a, to: b, lanes: labels } : null;
}

const span = (s, label, { from, to }) => [at(s, other(s, label), from), at(s, other(s, label), to)];

export function clipOf(s, region) {     // what is drawn there: {frames, rows}
  return { frames: region.to - region.from, rows: Object.fromEntries(region.lanes.map((k) => [k, s.values.slice(...span(s, k, region))])) };
}

export function openRegion(s, region) { for (const k of region.lanes) s.values.fill(-1, ...span(s, k, region)); }

export function paste(s, clip, where) { // over what there is; what lies beyond the ends is lost. Returns the region that it fills
  const from = clamp(where, 0, s.frames), to = clamp(where + clip.frames, 0, s.frames);
  const lanes = Object.keys(clip.rows).filter((k) => other(s, k) && !isLocked(s, other(s, k)));
  if (to <= from || !lanes.length) return null;
  for (const k of lanes) s.values.set(clip.rows[k].subarray(from - where, to - where), at(s, other(s, k), from));
  return { from, to, lanes };
}

export function stretched(clip, frames) {       // drawn out or pressed together: each frame has the value of its place before
  const take = (row) => Float32Array.from({ length: frames }, (_, f) => row[Math.min(row.length - 1, Math.floor((f + .5) * row.length / frames))]);
  return { frames, rows: Object.fromEntries(Object.entries(clip.rows).map(([k, row]) => [k, take(row)])) };
}

function each(s, region, kind, change) {        // change what is drawn and not open, in the lanes of a kind
  for (const lane of s.lanes.filter((l) => l.kind === kind && region.lanes.includes(l.label)))
    for (let f = region.from; f < region.to; f++) { const i = at(s, lane, f); if (s.values[i] >= 0) s.values[i] = change(s.values[i], lane); }
}

export function scaleRegion(s, region, factor) { each(s, region, "level", (v) => clamp(v * factor, 0, 1)); }

export function transposeRegion(s, region, semitones) { // a pitch that leaves its lane is open; a chroma goes round
  each(s, region, "notes", (v, lane) => {
    const n = Math.round(v * lane.steps * 1e3) / 1e3 + semitones;
    if (!scrolls(lane)) return ((n % 12 + 12) % 12) / lane.steps;
    return v <= 0 ? v : n < 1 || n > lane.steps ? -1 : n / lane.steps;
  });
}

// ---- where things are

export function layout(lanes, width, result) {
  let y = 2;
  const boxes = lanes.map((lane, i) => {
    const box = { lane, top: y, height: lane.height };
    y += lane.height + (lanes[i + 1]?.group && lanes[i + 1].group === lane.group ? 2 : GAP);
    return box;
  });
  const place = { width, left: LEFT, right: width - RIGHT, boxes, axis: y };
  y += AXIS;
  if (result) { place.mel = { top: y, height: MEL }; place.loud = { top: y + MEL + 4, height: LOUD }; y += MEL + LOUD + 8; }
  return { ...place, height: y };
}

// `s.view` is the stretch of time that is seen, {from, to} in frames, not whole ones; null: all of it

const viewFrom = (s) => s.view ? s.view.from : 0, viewTo = (s) => s.view ? s.view.to : s.frames, viewSpan = (s) => viewTo(s) - viewFrom(s);
const frameWidth = (s) => (s.place.right - s.place.left) / viewSpan(s);          // pixels

const xOf = (s, f) => s.place.left + frameWidth(s) * (f - viewFrom(s));
const frameAt = (s, x) => viewFrom(s) + (x - s.place.left) / frameWidth(s);      // not a whole one
const yOf = (s, box, v) => {
  const { lane, top, height } = box;
  return lane.kind === "notes" ? top + height * (1 - (v * lane.steps - s.bottom[lane.label] + 0.5) / lane.span) : top + 3 + (height - 6) * (1 - v);
};
const seen = (box, y) => y >= box.top && y <= box.top + box.height;
const scrolls = (lane) => lane.kind === "notes" && lane.span <= lane.steps;

function scroll(s, lane, semitone) {    // the lane's lowest semitone
  s.bottom[lane.label] = scrolls(lane) ? clamp(semitone, 1, lane.steps + 1 - lane.span) : 0;
}

function fit(s) {                       // see to it that the notes that are drawn are seen, from a C upwards
  for (const lane of s.lanes.filter(scrolls)) {
    const drawn = s.values.subarray(at(s, lane, 0), at(s, lane, s.frames)).filter((v) => v > 0).map((v) => v * lane.steps).sort();
    const low = drawn[0], high = drawn[drawn.length - 1], bottom = s.bottom[lane.label];
    if (!drawn.length || (low >= bottom && high < bottom + lane.span)) continue;
    const wanted = high - low < lane.span ? (low + high - lane.span) / 2 : drawn[drawn.length >> 1] - lane.span / 2;
    scroll(s, lane, Math.round((wanted + lane.midi) / 12) * 12 - lane.midi);
    if (high - low < lane.span && high >= s.bottom[lane.label] + lane.span) scroll(s, lane, s.bottom[lane.label] + 12);
    if (low < s.bottom[lane.label]) scroll(s, lane, s.bottom[lane.label] - 12);
  }
}

export function within(rect, place, e) { // the pointer in the board's own pixels, at whatever scale the page shows it
  return { x: (e.clientX - rect.left) * place.width / rect.width, y: (e.clientY - rect.top) * place.height / rect.height };
}

function pointAt(s, box, e) {           // the frame and value under the pointer
  const { x, y } = within(s.canvas.getBoundingClientRect(), s.place, e);
  const f = clamp(Math.floor(frameAt(s, x)), Math.floor(viewFrom(s)), Math.ceil(viewTo(s)) - 1);
  const { lane, top, height } = box;
  const v = lane.kind === "notes" ? (lane.span * (1 - (y - top) / height) - 0.5 + s.bottom[lane.label]) / lane.steps : 1 - (y - top - 3) / (height - 6);
  return { f, v: clamp(v, least(lane), 1) };
}

function boxAt(s, e) {
  const { y } = within(s.canvas.getBoundingClientRect(), s.place, e);
  return s.place.boxes.find((b) => y >= b.top - 2 && y < b.top + b.height + 2);
}

// ---- zoom and scrolling of the time axis

const CLOSEST = 10;                     // frames that are seen at least

export function setView(s, from, to) {  // as near to that as the board has it; all of it is null
  const wide = clamp(to - from, Math.min(CLOSEST, s.frames), s.frames), start = clamp(from, 0, s.frames - wide);
  s.view = wide < s.frames ? { from: start, to: start + wide } : null;
  if (s.overview) showView(s);
}

function zoomBy(s, factor, around) {    // what is at the frame `around` stays where it is
  const at = around ?? (s.region ? (s.region.from + s.region.to) / 2 : (viewFrom(s) + viewTo(s)) / 2), wide = clamp(viewSpan(s) / factor, Math.min(CLOSEST, s.frames), s.frames);
  const share = at > viewFrom(s) && at < viewTo(s) ? (at - viewFrom(s)) / viewSpan(s) : .5;
  s.following = false; setView(s, at - share * wide, at + (1 - share) * wide);
}

function scrollBy(s, frames) { s.following = false; setView(s, viewFrom(s) + frames, viewTo(s) + frames); }

function zoomToRegion(s) {              // with a little around it; without a selection all is shown
  const { from, to } = s.region || { from: 0, to: s.frames }, around = s.region ? (to - from) / 20 : 0;
  s.following = false; setView(s, from - around, to + around);
}

function reveal(s, from, to) {          // scroll as far as needed for these frames to be seen
  if (s.view && from < s.view.from) setView(s, from, from + viewSpan(s));
  else if (s.view && to > s.view.to) setView(s, to - viewSpan(s), to);
}

function followPlayhead(s) {            // a view that was not moved since playing began is turned like a page
  if (!s.view || !s.following || s.drag || !s.voice) return;
  const f = Math.min(s.frames, position(s) * s.rate);
  if (f < s.view.from || f >= s.view.to) setView(s, f, f + viewSpan(s));
}

function showView(s) {
  const thumb = s.overview.children[0], b = s.buttons, percent = (f) => `${100 * f / s.frames}%`;
  s.overview.className = s.view ? "overview" : "overview whole"; thumb.style.left = percent(viewFrom(s)); thumb.style.width = percent(viewSpan(s));
  s.overview.ariaValueNow = String(Math.round(100 * viewFrom(s) / Math.max(1, s.frames - viewSpan(s))));
  b.whole.disabled = b.out.disabled = !s.view; b.closer.disabled = viewSpan(s) <= CLOSEST;
  s.root.dataset.view = s.view ? `${+s.view.from.toFixed(2)} ${+s.view.to.toFixed(2)}` : "";
  repaint(s);
}

function overview(s) {                  // the scroll bar of the time axis
  const thumb = make("div"), bar = make("div", { className: "overview", role: "scrollbar", ariaLabel: "What is seen of the time axis", ariaOrientation: "horizontal", ariaValueMin: "0", ariaValueMax: "100", title: "Drag: scroll along the time axis" }, thumb);
  let held = null;                      // frames from the view's beginning to where it was taken
  const at = (e) => { const { left, width } = bar.getBoundingClientRect(); return (e.clientX - left) / width * s.frames; };
  bar.addEventListener("pointerdown", (e) => { const f = at(e), inside = f >= viewFrom(s) && f <= viewTo(s); held = inside ? f - viewFrom(s) : viewSpan(s) / 2; bar.setPointerCapture(e.pointerId); scrollBy(s, f - held - viewFrom(s)); e.preventDefault(); });
  bar.addEventListener("pointermove", (e) => { if (held !== null) scrollBy(s, at(e) - held - viewFrom(s)); });
  for (const end of ["pointerup", "pointercancel"]) bar.addEventListener(end, () => { held = null; });
  return bar;
}

function bindZoom(s, field) {           // wheel and fingers, over lanes, axis and result
  const frameOf = (e) => frameAt(s, within(s.canvas.getBoundingClientRect(), s.place, e).x);
  field.addEventListener("wheel", (e) => {      // with Ctrl, which is also what a pinch on a trackpad sends, it zooms; with Shift, or sideways, it scrolls
    const unit = [1, 16, 400][e.deltaMode || 0], x = (e.shiftKey && !e.deltaX ? e.deltaY : e.deltaX) * unit, y = e.deltaY * unit;
    if (e.ctrlKey || e.metaKey) zoomBy(s, Math.exp(-clamp(y, -50, 50) / 100), frameOf(e));
    else if (s.view && (e.shiftKey || Math.abs(x) > Math.abs(y))) scrollBy(s, x / frameWidth(s));
    else return;
    e.preventDefault();
  }, { passive: false });
  const fingers = new Map();            // where each one is, and the frame that it holds
  const settle = () => { for (const one of fingers.values()) one.frame = frameOf(one); };
  field.addEventListener("pointerdown", (e) => {
    if (e.pointerType !== "touch") return;
    fingers.set(e.pointerId, { clientX: e.clientX, clientY: e.clientY, below: e.target === s.below });
    if (fingers.size === 2 && !s.drag?.travelled) { abandon(s); s.pinch = true; }         // two fingers before one has drawn
    settle();
  });
  field.addEventListener("pointermove", (e) => {
    const mine = fingers.get(e.pointerId), [one, two] = fingers.values();
    if (!mine) return;
    mine.clientX = e.clientX;
    if (two && s.pinch) pinched(s, one, two, frameOf);
    else if (one.below && !two && s.view) scrollBy(s, mine.frame - frameOf(mine));
  });
  for (const end of ["pointerup", "pointercancel"]) field.addEventListener(end, (e) => { fingers.delete(e.pointerId); if (fingers.size < 2) s.pinch = false; settle(); });
}

function pinched(s, one, two, frameOf) { // what the fingers hold stays under them
  const [a, b] = one.clientX <= two.clientX ? [one, two] : [two, one], [fa, fb] = [a, b].map(frameOf), apart = b.clientX - a.clientX;
  if (apart < 16 || b.frame - a.frame < 1e-3) return;
  const share = (b.frame - a.frame) / (fb - fa), wide = viewSpan(s) * share, from = a.frame - (fa - viewFrom(s)) * share;
  s.following = false; setView(s, from, from + wide);
}

export function endGesture(s) {         // what it has drawn stays
  const { before, widths } = s.drag || {};
  s.drag = null;
  if (widths && widths !== s.widths) { remember(s, undefined, widths); tellBands(s); }
  if (before && !same(before, s.values)) { remember(s, before); commit(s); }
}

function abandon(s) {                   // the gesture that is under way was none
  const drag = s.drag;
  if (!drag) return;
  s.drag = null; s.values = drag.before; s.widths = drag.widths;
  if (s.tool === "select") setRegion(s, drag.region);
  if (!same(s.told, s.values)) commit(s); else repaint(s);
}

// ---- painting

function colours(s) {
  const css = getComputedStyle(s.root);
  return Object.fromEntries(["ink", "faint", "paper", "open", "brand", "dim"].map((k) => [k, css.getPropertyValue("--" + k).trim() || "#888"]));
}

function runs(s, lane, test) {          // stretches [start, stop) of frames whose value passes
  const found = [];
  for (let f = 0; f < s.frames; f++) {
    if (!test(s.values[at(s, lane, f)], f)) continue;
    const last = found[found.length - 1];
    if (last && last[1] === f) last[1] = f + 1; else found.push([f, f + 1]);
  }
  return found;
}

function paintFrame(s, ctx, c, box) {
  const { left, right } = s.place, { lane, top, height } = box;
  ctx.strokeStyle = c.faint; ctx.lineWidth = 1; ctx.strokeRect(left + .5, top + .5, right - left - 1, height - 1);
  ctx.fillStyle = box === s.place.boxes[s.active] && s.keyboard ? c.brand : c.ink;
  ctx.textAlign = "right"; ctx.textBaseline = "middle"; ctx.font = "12px sans-serif";
  ctx.fillText(lane.label, left - (lane.kind === "notes" ? 26 : 6), top + height / 2);
  ctx.font = "9px sans-serif"; ctx.fillStyle = c.dim;
  for (const [v, text] of lane.ticks) ctx.fillText(text, left - 4, clamp(yOf(s, box, v), top + 7, top + height - 6));
  if (lane.kind === "notes") for (let k = 0; k < lane.span; k++) {
    const v = (s.bottom[lane.label] + k) / lane.steps, name = noteName(lane, v), y = yOf(s, box, v), each = height / lane.span;
    if (each > 9 || name.startsWith("C") && name[1] !== "#") ctx.fillText(name, left - 4, y);
    ctx.globalAlpha = name[1] === "#" ? .5 : .15; ctx.fillStyle = c.faint; ctx.fillRect(left, y - each / 2, right - left, each - (each > 9 ? 1 : 0));
    ctx.globalAlpha = 1; ctx.fillStyle = c.dim;
  }
}

function inside(s, ctx, paintIt) {      // nothing of it beside the lanes
  ctx.save(); ctx.beginPath(); ctx.rect(s.place.left, 0, s.place.right - s.place.left, s.place.height); ctx.clip(); paintIt(); ctx.restore();
}

function paintGrid(s, ctx, c, box) {     // bars, beats and what is between them, as far as there is room
  const g = gridStep(s), beat = s.grid?.division;
  if (!g || frameWidth(s) * g * beat < 5) return;
  const all = frameWidth(s) * g > 5;
  for (let k = Math.ceil(viewFrom(s) / g), f = k * g; f < viewTo(s); f = ++k * g) {
    if (k % beat && !all) continue;
    ctx.globalAlpha = k % (4 * beat) === 0 ? .55 : k % beat === 0 ? .32 : .14; ctx.fillStyle = c.dim;
    ctx.fillRect(Math.round(xOf(s, Math.round(f))), box.top + 1, 1, box.height - 2);        // where it snaps to
  }
  ctx.globalAlpha = 1;
}

function paintLocked(s, ctx, c, box) {
  if (!isLocked(s, box.lane)) return;
  ctx.globalAlpha = .55; ctx.fillStyle = c.paper; ctx.fillRect(s.place.left + 1, box.top + 1, s.place.right - s.place.left - 2, box.height - 2); ctx.globalAlpha = 1;
}

function paintRegion(s, ctx, c, box) {
  if (!s.region?.lanes.includes(box.lane.label)) return;
  const x = xOf(s, s.region.from), w = xOf(s, s.region.to) - x;
  ctx.fillStyle = c.brand; ctx.globalAlpha = .16; ctx.fillRect(x, box.top, w, box.height); ctx.globalAlpha = 1;
  ctx.fillRect(x, box.top, 1.5, box.height); ctx.fillRect(x + w - 1.5, box.top, 1.5, box.height);
  ctx.fillRect(x - 2, box.top + box.height / 2 - 8, 5, 16); ctx.fillRect(x + w - 3, box.top + box.height / 2 - 8, 5, 16);      // its edges can be taken
}

function paintOpen(s, ctx, c, box) {    // what is left to the model: a field that says so
  const say = (text, from, to) => {     // in the middle of what is seen of it
    const x = Math.max(from, s.place.left), w = Math.min(to, s.place.right) - x;
    ctx.fillStyle = c.dim; ctx.font = "italic 11px sans-serif"; ctx.textAlign = "center"; ctx.textBaseline = "middle";
    if (w > 6 * text.length) ctx.fillText(text, x + w / 2, box.top + box.height / 2);
  };
  for (const [a, b] of runs(s, box.lane, (v) => v < 0)) {
    const x = xOf(s, a), w = xOf(s, b) - x;
    ctx.fillStyle = c.open; ctx.fillRect(x, box.top + 1, w, box.height - 2);
    say(box.height > 40 && w > 150 ? "open: the model's choice" : "open", x, x + w);
  }
  if (box.lane.gate || box.lane.gates) for (const [a, b] of runs(s, box.lane, (v) => v === 0)) say(box.lane.gate ? "no pitch" : "unvoiced", xOf(s, a), xOf(s, b));
}

function paintCurve(s, ctx, box) {
  const { lane } = box, silent = lane.rest && other(s, lane.rest);
  ctx.fillStyle = ctx.strokeStyle = lane.colour; ctx.lineWidth = 2;
  if (lane.kind === "notes") {          // bars as in a piano roll, pale where nothing sounds
    let start = 0;
    const look = (f) => [s.values[at(s, lane, f)], silent && s.values[at(s, silent, f)] === 0];
    for (let f = 1; f <= s.frames; f++) {
      const [v, quiet] = look(f - 1);
      if (f < s.frames && look(f)[0] === v && look(f)[1] === quiet) continue;
      const y = yOf(s, box, v), each = box.height / lane.span, there = clamp(y, box.top + each / 2, box.top + box.height - each / 2);
      ctx.globalAlpha = quiet || !seen(box, y) ? .25 : 1;           // what the lane does not reach is pale, at its edge
      if (v >= least(lane)) ctx.fillRect(xOf(s, start), there - each / 2, xOf(s, f) - xOf(s, start), Math.max(3, each - 1));
      start = f;
    }
    ctx.globalAlpha = 1; return;
  }
  for (const [a, b] of runs(s, lane, (v) => v >= 0)) {
    ctx.beginPath();
    for (let f = a; f < b; f++) { const y = yOf(s, box, s.values[at(s, lane, f)]); ctx.lineTo(xOf(s, f), y); ctx.lineTo(xOf(s, f + 1), y); }
    ctx.stroke();
    ctx.lineTo(xOf(s, b), yOf(s, box, 0)); ctx.lineTo(xOf(s, a), yOf(s, box, 0)); ctx.closePath();
    ctx.globalAlpha = lane.kind === "level" ? .18 : .75; ctx.fill(); ctx.globalAlpha = 1;
  }
}

function paintBand(s, ctx, box) {       // how far a take may go from the curve, where something sounds
  const { lane } = box, silent = lane.rest && other(s, lane.rest), sounds = (f) => !silent || s.values[at(s, silent, f)] !== 0;
  if (!widthsOf(s, lane)) return;
  ctx.save(); ctx.beginPath(); ctx.rect(s.place.left, box.top, s.place.right - s.place.left, box.height); ctx.clip();
  ctx.fillStyle = ctx.strokeStyle = lane.colour; ctx.lineWidth = 1; ctx.setLineDash([4, 3]);
  for (const [a, b] of runs(s, lane, (v, f) => v >= least(lane) && sounds(f))) {
    const edge = (f, side) => { const y = yOf(s, box, s.values[at(s, lane, f)] + side * widthAt(s, lane, f)), x = [xOf(s, f), xOf(s, f + 1)]; for (const one of side > 0 ? x : x.reverse()) ctx.lineTo(one, y); };
    ctx.beginPath();
    for (let f = a; f < b; f++) edge(f, 1);
    for (let f = b - 1; f >= a; f--) edge(f, -1);
    ctx.closePath(); ctx.globalAlpha = .25; ctx.fill(); ctx.globalAlpha = .8; ctx.stroke();
  }
  ctx.restore();
}

function paintBehind(s, ctx, box) {     // the other voices, faint
  ctx.globalAlpha = .55;
  const { lane } = box, silent = lane.rest && other(s, lane.rest);
  for (const { values } of s.behind) trace(s, ctx, box, values, lane.colour, 1.5, (v, f) => v >= least(lane) && !(silent && values[silent.row * values.length / s.lanes.length + f] === 0));
  ctx.globalAlpha = 1;
}

const paintMeasured = (s, ctx, c, box) => trace(s, ctx, box, s.measured, c.ink, 1.2);          // what was heard in the result, thin over what was asked for

function trace(s, ctx, box, values, colour, width, drawn = (v) => v >= 0) {
  const frames = values.length / s.lanes.length;
  if (!frames) return;
  ctx.strokeStyle = colour; ctx.lineWidth = width; ctx.beginPath();
  let last = NaN;
  for (let f = 0; f < frames; f++) {
    const v = values[box.lane.row * frames + f], x = xOf(s, f * s.frames / frames), next = xOf(s, (f + 1) * s.frames / frames);
    const y = yOf(s, box, v);
    if (!drawn(v, f) || !seen(box, y)) { last = NaN; continue; }
    if (Number.isNaN(last) || (box.lane.kind === "notes" && Math.abs(last - v) * box.lane.steps > .7)) ctx.moveTo(x, y); else ctx.lineTo(x, y);
    ctx.lineTo(next, y); last = v;
  }
  ctx.stroke();
}

function paintLapses(s, ctx, box) {             // where the result does not follow what was asked for
  const frames = s.mismatches.length / s.lanes.length, x = (f) => xOf(s, f * s.frames / frames);
  ctx.fillStyle = "#d62728"; ctx.globalAlpha = .22;
  for (let f = 0, from = -1; f <= frames; f++) {
    const wrong = f < frames && s.mismatches[box.lane.row * frames + f] > 0;
    if (wrong && from < 0) from = f;
    if (!wrong && from >= 0) { ctx.fillRect(x(from), box.top, x(f) - x(from), box.height); from = -1; }
  }
  ctx.globalAlpha = 1;
}

function paintBars(s, ctx, c) {          // on a grid the axis counts bars and beats, as a sequencer does
  const beat = 60 / s.grid.bpm * s.rate, pixels = frameWidth(s) * beat, each = [.25, .5, 1, 2, 4, 8, 16, 32].find((n) => n * pixels > (n < 1 ? 60 : 34)) || 64;
  ctx.fillStyle = c.dim; ctx.font = "10px sans-serif"; ctx.textAlign = "left"; ctx.textBaseline = "top";
  for (let k = Math.ceil(viewFrom(s) / beat / each) * each; k * beat < viewTo(s); k += each) {        // bar.beat.sixteenth
    const x = xOf(s, Math.round(k * beat)), bar = Math.floor(k / 4) + 1, inBar = Math.floor(k % 4) + 1, text = k % 1 ? `${bar}.${inBar}.${4 * (k % 1) + 1}` : k % 4 ? `${bar}.${inBar}` : `${bar}`;
    if (x + 3 + 6 * text.length > s.place.right + RIGHT) continue;
    ctx.fillRect(Math.round(x), s.place.axis - GAP, 1, k % 4 ? GAP : 2 * GAP);
    ctx.fillText(text, x + 3, s.place.axis + 2);
  }
}

function paintAxis(s, ctx, c) {
  if (gridStep(s)) { paintBars(s, ctx, c); return; }
  const end = viewTo(s) / s.rate, pixels = frameWidth(s) * s.rate;
  const step = [.01, .02, .05, .1, .2, .5, 1, 2].find((d) => d * pixels > 45) || 5;
  ctx.fillStyle = c.dim; ctx.strokeStyle = c.faint; ctx.font = "10px sans-serif"; ctx.textAlign = "center"; ctx.textBaseline = "top"; ctx.lineWidth = 1;
  for (let k = Math.ceil(viewFrom(s) / s.rate / step - 1e-6); k * step <= end + 1e-6; k++) {
    const t = k * step, x = Math.round(xOf(s, t * s.rate)) + .5, last = t + step > end + 1e-6;
    ctx.beginPath(); ctx.moveTo(x, s.place.axis - GAP); ctx.lineTo(x, s.place.axis); ctx.stroke();
    ctx.textAlign = last ? "right" : "center";
    ctx.fillText(`${+t.toFixed(2)}${last ? " s" : ""}`, x + (last ? 8 : 0), s.place.axis + 2);
  }
}

function paintResult(s, ctx, c) {
  const { left, right, mel, loud } = s.place;
  if (!mel) return;
  const column = s.picture.width / s.frames;
  ctx.imageSmoothingEnabled = true; ctx.drawImage(s.picture, viewFrom(s) * column, 0, viewSpan(s) * column, s.picture.height, left, mel.top, right - left, mel.height);
  ctx.fillStyle = c.ink; ctx.font = "12px sans-serif"; ctx.textAlign = "right"; ctx.textBaseline = "middle";
  ctx.fillText("sound", left - 6, mel.top + mel.height / 2 - 7); ctx.fillText("loudness", left - 6, loud.top + loud.height / 2 - 6);
  ctx.fillStyle = c.dim; ctx.font = "9px sans-serif"; ctx.fillText("50 Hz..12 kHz", left - 6, mel.top + mel.height / 2 + 7); ctx.fillText("-60..0 dB", left - 6, loud.top + loud.height / 2 + 7);
  ctx.strokeStyle = c.faint; ctx.strokeRect(left + .5, loud.top + .5, right - left - 1, loud.height - 1);
  ctx.strokeStyle = c.ink; ctx.lineWidth = 1.5;
  inside(s, ctx, () => {
    ctx.beginPath();
    s.loudness.forEach((db, f) => ctx.lineTo(xOf(s, (f + .5) * s.frames / s.loudness.length), loud.top + 2 + (loud.height - 4) * clamp(-db / 60, 0, 1)));
    ctx.stroke();
  });
}

function paintCursors(s, ctx, c) {
  if (s.keyboard) {
    const box = s.place.boxes[s.active], step = hop(s);
    ctx.strokeStyle = c.brand; ctx.lineWidth = 2; ctx.strokeRect(xOf(s, s.cursor), box.top, xOf(s, Math.min(s.frames, s.cursor + step)) - xOf(s, s.cursor), box.height);
  }
  if (s.voice) {
    const x = xOf(s, Math.min(s.frames, position(s) * s.rate));
    ctx.strokeStyle = c.brand; ctx.lineWidth = 1; ctx.beginPath(); ctx.moveTo(x, 0); ctx.lineTo(x, s.place.height); ctx.stroke();
  }
}

function paint(s) {
  s.waiting = false;
  const width = s.canvas.clientWidth, dpr = window.devicePixelRatio || 1;
  if (!width || !s.frames) return;
  s.place = layout(s.lanes, width, s.picture);
  if (s.canvas.height !== Math.round(s.place.height * dpr) || s.canvas.width !== Math.round(width * dpr)) {
    s.canvas.width = Math.round(width * dpr); s.canvas.height = Math.round(s.place.height * dpr); s.canvas.style.height = s.place.height + "px";
    s.below.style.top = s.hand.style.top = s.place.axis + "px";
    for (const [lane, lock] of s.padlocks) { const box = s.place.boxes.find((b) => b.lane === lane); lock.style.top = `${box.top + Math.max(0, Math.min(8, (box.height - 28) / 2))}px`; }
    s.canvas.dataset.place = JSON.stringify({ left: s.place.left, right: s.place.right,         // for whoever steers the board from outside
      lanes: Object.fromEntries(s.place.boxes.map((b) => [b.lane.label, [b.top, b.height]])) });
  }
  const ctx = s.canvas.getContext("2d"), c = colours(s);
  ctx.setTransform(dpr, 0, 0, dpr, 0, 0); ctx.fillStyle = c.paper; ctx.fillRect(0, 0, width, s.place.height);
  for (const box of s.place.boxes) paintFrame(s, ctx, c, box);
  inside(s, ctx, () => { for (const box of s.place.boxes) { paintOpen(s, ctx, c, box); paintGrid(s, ctx, c, box); paintBehind(s, ctx, box); paintBand(s, ctx, box); paintCurve(s, ctx, box); paintLapses(s, ctx, box); paintMeasured(s, ctx, c, box); paintLocked(s, ctx, c, box); paintRegion(s, ctx, c, box); } });
  paintAxis(s, ctx, c); paintResult(s, ctx, c); inside(s, ctx, () => paintCursors(s, ctx, c));
}

function repaint(s) { if (!s.waiting) { s.waiting = true; requestAnimationFrame(() => paint(s)); } }

export function melPicture(view, bands) {       // bytes (bands, columns), low bands first, as a picture
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength), columns = bytes.length / bands;
  const canvas = Object.assign(document.createElement("canvas"), { width: columns, height: bands });
  const image = new ImageData(columns, bands);
  bytes.forEach((b, i) => {
    const p = b / 255 * (MAGMA.length - 1), k = Math.min(MAGMA.length - 2, Math.floor(p)), y = bands - 1 - Math.floor(i / columns);
    image.data.set([0, 1, 2].map((j) => MAGMA[k][j] + (p - k) * (MAGMA[k + 1][j] - MAGMA[k][j])).concat(255), 4 * (y * columns + i % columns));
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// ---- who listens: what is drawn while nobody does is laid aside in the browser, and the next board of the same name takes it up

const WAITING = "waiting", HEARD = "heard", GONE = "gone";      // s.listens: no answer yet, an answer, no kernel any more
const DEAD = ["restarting", "autorestarting", "terminating", "dead"];

const shelf = (s) => `jingles:${location.pathname}:${s.model.get("name")}:${s.lanes.map((l) => l.label).join()}`;        // of other lanes these numbers are other curves

function lay(s) { try { localStorage.setItem(shelf(s), JSON.stringify([...s.values])); } catch { /* no room, or not allowed: then it is only drawn */ } }

export function fits(s, values) {       // can that be curves of this board?
  const frames = values?.length / s.lanes.length;
  return Array.isArray(values) && frames >= 1 && Number.isInteger(frames) && frames <= s.model.get("longest") * s.rate && values.every((v) => v === -1 || (v >= 0 && v <= 1));
}

function takeUp(s) {                    // what was laid aside is drawn again, once; Undo brings back what there was
  let values = null;
  try { values = JSON.parse(localStorage.getItem(shelf(s))); if (!s.model.get("lasting")) localStorage.removeItem(shelf(s)); } catch { return; }
  if (!fits(s, values) || same(Float32Array.from(values), s.values)) return;
  remember(s); take(s, Float32Array.from(values)); fit(s); commit(s);
  s.say("what you drew here before is back; Undo takes it away");
}

function tellUnheard(s) {
  s.say("");
  s.notice.textContent = "Nobody listens: the kernel was restarted or has ended. What is drawn now waits in this browser; run the cell again, and it is taken up.";
}

function listen(s) {                    // a greeting that the kernel answers, and its end; returns how to stop
  const gone = () => { s.listens = GONE; tellUnheard(s); };
  const status = (_, state) => { if (DEAD.includes(state)) gone(); };
  const greet = () => { try { s.model.send({ kind: "hello", lanes: s.lanes.map((l) => l.label), rate: s.rate }); } catch { /* nobody there */ } };
  const again = () => { gone(); greet(); };     // the connection changed: whoever is still there says so
  const kernel = s.model.widget_manager?.kernel;
  s.listens = WAITING; kernel?.statusChanged?.connect(status); s.model.on("comm_live_update", again); greet();
  return () => { kernel?.statusChanged?.disconnect(status); s.model.off("comm_live_update", again); };
}

function lostServer(s) {                // of `jingles serve`
  s.listens = GONE; s.say("");
  s.notice.textContent = "The server has ended or has closed this page; reload it. What you drew waits in this browser.";
}

function answered(s) {
  const first = s.listens === WAITING;
  s.listens = HEARD; s.notice.textContent = "";
  if (first) { s.say(s.model.get("message") || WELCOME); if (!s.again) { takeUp(s); takeUpBands(s); } }
}

// ---- what can be undone, and what Python knows

const same = (a, b) => a.length === b.length && a.every((v, i) => v === b[i]);

function remember(s, old = s.values.slice(), widths = s.widths) { old.widths = widths; s.past.push(old); s.future = []; if (s.past.length > 200) s.past.shift(); }

function take(s, values) {              // other curves, perhaps of another length; a gesture that is under way ends, and the cursor stays on the board
  const before = s.frames;
  s.drag = null; s.values = values; s.frames = values.length / s.lanes.length; if (s.frames !== before) setView(s, 0, s.frames);
  s.cursor = clamp(s.cursor, 0, lastStep(s));
  if (s.region?.to > s.frames) setRegion(s, null);
}

function stale(s) {                     // does Python speak of other lanes than these? A new view is on its way
  const lanes = s.model.get("lanes");
  return s.model.get("rate") !== s.rate || lanes.length !== s.lanes.length || lanes.some((l, i) => l.label !== s.lanes[i].label);
}

function commonLabels(a, b) {           // of the lanes that mean the same on two boards, all of a feature or none
  const of = (s, name) => s.lanes.filter((l) => featureOf(l) === name), alike = (l, m) => ["label", "kind", "steps", "midi", "from", "to"].every((k) => l[k] === m?.[k]);
  const names = [...new Set(b.lanes.map(featureOf))].filter((name) => of(a, name).length === of(b, name).length && of(a, name).every((l, i) => alike(l, of(b, name)[i])));
  return names.flatMap((name) => of(b, name).map((l) => l.label));
}

export function withLanes(s, values, before) {  // curves of the board `before` as curves of `s`; lanes that it has not are as they are there now
  const old = { ...before, values, frames: values.length / before.lanes.length }, frames = Math.max(1, Math.round(old.frames * s.rate / old.rate)), labels = commonLabels(old, s);
  const rowsOf = (b, lanes) => stretched(clipOf(b, { from: 0, to: b.frames, lanes }), frames).rows, rows = { ...rowsOf(s, s.lanes.map((l) => l.label)), ...rowsOf(old, labels) };
  const made = { lanes: s.lanes, frames, values: new Float32Array(s.lanes.length * frames) };
  for (const lane of s.lanes) made.values.set(rows[lane.label], at(made, lane, 0));
  for (const k of labels) for (let f = 0; f < frames; f++) agree(made, other(made, k), f);
  return made.values;
}

export function historyFor(s, before) { // what can be undone and redone when `s` takes the place of a board with other lanes: each step changes something
  const steps = (list) => list.map((v) => withLanes(s, v, before)).filter((v, i, all) => !same(v, all[i + 1] ?? s.values));
  return { past: steps(before.past), future: steps(before.future) };
}

function commit(s) {                    // tell Python, at the end of a gesture
  s.told = s.values.slice();
  if (stale(s)) { ask(s, { kind: "drawn" }, [s.told.slice().buffer]); return; }
  if (s.listens !== HEARD || s.model.get("lasting")) lay(s);
  if (s.listens === GONE) tellUnheard(s);
  s.model.set("drawn_in", `${s.part}/${Math.random()}`); s.model.set("data", new DataView(s.told.slice().buffer)); s.model.save_changes(); refresh(s);
}

function step(s, from, to) {            // undo: from past to future; redo: the other way
  if (!from.length) return;
  const now = s.drag ? s.drag.before : s.values, then = from.pop(), widths = s.drag ? s.drag.widths : s.widths;
  now.widths = widths; to.push(now); take(s, then); s.widths = then.widths || widths;
  if (!same(s.told, s.values)) commit(s);
  if (s.widths !== widths) tellBands(s);
  refresh(s);
}
const undo = (s) => step(s, s.past, s.future), redo = (s) => step(s, s.future, s.past);

function heardFromPython(s) {           // Python set the curves: a preset, a file, an assignment
  const now = floats(s.model.get("data"));
  if (stale(s) || now.length % s.lanes.length) return;
  if (followVoice(s)) { refresh(s); return; }
  if (same(now, s.told)) return;        // no news: what this view, or Python before, said
  remember(s, s.drag ? s.drag.before : s.values); s.told = now.slice(); take(s, now); fit(s); refresh(s);
}

// ---- voices: several sets of curves on one board. One is drawn in, the others are seen behind it; Python has them all, and changes over

function followVoice(s) {               // has Python gone on to another voice? Each has what can be undone in it
  const voice = s.model.get("voice") || 0;
  if (voice === s.part) return false;
  s.drag = null; s.stash[s.part] = { past: s.past, future: s.future };
  Object.assign(s, { part: voice, past: [], future: [] }, s.stash[voice]);
  s.values = floats(s.model.get("data")); s.told = s.values.slice(); take(s, s.values); fit(s);
  return true;
}

export function heardVoices(s) {
  if (stale(s)) return;
  const count = s.model.get("voice_count") || 1, all = floats(s.model.get("others")), each = all.length / (count - 1);
  if (count < s.behind.length + 1) { s.stash = {}; s.past = []; s.future = []; s.part = -1; }     // one is gone, and the numbers of others with it
  const before = new Map(s.behind.map(({ voice, values }) => [voice, values])), went = followVoice(s);
  s.behind = Array.from({ length: count - 1 }, (_, i) => ({ voice: i + (i >= s.part), values: all.slice(i * each, (i + 1) * each) }));
  for (const { voice, values } of went ? [] : s.behind) {       // a file has filled them all
    const old = before.get(voice);
    if (old?.length === values.length && !same(old, values)) { s.stash[voice] = { past: [...(s.stash[voice]?.past || []), old], future: [] }; }
  }
  s.changing = false; chips(s); refresh(s);
}

function askVoice(s, content) { if (s.listens !== HEARD || s.changing) return; endGesture(s); s.changing = true; ask(s, { kind: "voice", ...content }); }

function chips(s) {                     // 1, 2, 3, + and −
  const count = s.behind.length + 1, chip = (text, title, content, on) => make("button", { type: "button", title, ariaLabel: title, ariaPressed: on === undefined ? null : String(on), onclick: () => { if (!on) askVoice(s, content); } }, text);
  const numbers = count > 1 ? Array.from({ length: count }, (_, i) => chip(String(i + 1), `Voice ${i + 1}`, { index: i }, i === s.part)) : [];
  s.chips.replaceChildren(make("label", {}, count > 1 ? "voices" : "voice"), ...numbers, chip("+", "Add a voice: all sound together, and a MIDI file that is opened then fills them all", { index: count }),
    ...(count > 1 ? [chip("−", "Remove this voice; + brings it back", { remove: true })] : []));
  s.root.dataset.voice = s.part + 1; s.root.dataset.voices = count;
}

function newPicture(s) {                // what is seen of a result; the sound goes on
  const mel = s.model.get("mel");
  s.picture = mel?.byteLength ? melPicture(mel, s.model.get("bands")) : null;
  s.loudness = floats(s.model.get("loudness")); s.measured = floats(s.model.get("measured")); s.mismatches = floats(s.model.get("mismatches"));
  refresh(s);
}

// ---- playing: a new sound takes over where the old one is, so that nothing is interrupted

const FADE = 0.06;                      // seconds of a crossfade; both sounds are alike outside of what changed, so their gains add up to 1

function decode(view) {                 // the sound in the bytes of a file
  const bytes = view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
  return new OfflineAudioContext(1, 1, 48000).decodeAudioData(bytes);
}

function position(s, when = s.context.currentTime) {    // seconds into the sound that plays, at the context's time `when`
  const gone = Math.max(0, when - s.voice.began), { buffer, loop, loopStart = 0, loopEnd = 0 } = s.voice.source;
  return loop && loopEnd > loopStart && gone > loopEnd ? loopStart + (gone - loopStart) % (loopEnd - loopStart) : gone % buffer.duration;
}

function loopOf(s, offset, duration) {  // what is played over and over: all of it, or what is selected when that is not over yet
  const [a, b] = s.region ? [s.region.from / s.rate, Math.min(duration, s.region.to / s.rate)] : [0, 0];
  return { loop: s.loop, ...(b > a && offset < b ? { loopStart: a, loopEnd: b } : { loopStart: 0, loopEnd: 0 }) };
}

function loopAgain(s) { if (s.voice) { const { source } = s.voice; s.voice.began = s.context.currentTime - position(s); Object.assign(source, loopOf(s, position(s), source.buffer.duration)); } }

function voice(s, buffer, offset, when, fade) {         // play `buffer` from `offset` on, at the context's time `when`
  const source = Object.assign(s.context.createBufferSource(), { buffer, ...loopOf(s, offset % buffer.duration, buffer.duration) }), gain = s.context.createGain();
  gain.gain.value = fade ? 0 : 1;       // from now on: `when` may be rounded to another sample for the gain than for the source
  gain.gain.setValueAtTime(fade ? 0 : 1, when);
  if (fade) gain.gain.linearRampToValueAtTime(1, when + fade);
  source.connect(gain); gain.connect(s.context.destination);
  source.start(when, offset % buffer.duration);
  s.voice = { source, gain: gain.gain, began: when - offset % buffer.duration, full: when + fade };
  source.onended = () => { if (s.voice?.source === source) { s.voice = null; refresh(s); } };
}

function fadeOut(s, when) {
  const { source, gain, full } = s.voice;
  gain.cancelScheduledValues(when);     // of a fade that is not over, its part up to `when` is put back
  gain.linearRampToValueAtTime(Math.max(0, Math.min(1, 1 - (full - when) / FADE)), when);
  gain.linearRampToValueAtTime(0, when + FADE); source.stop(when + FADE);
}

function silence(s) {
  const playing = s.voice;
  s.voice = null;
  playing?.source.stop();
}

function follow(s) {                    // the playhead moves as long as something plays
  followPlayhead(s); refresh(s);
  if (s.voice) requestAnimationFrame(() => follow(s));
}

function play(s, from = 0) {
  if (!s.buffer) return;
  silence(s);
  s.context ||= new AudioContext();
  s.context.resume?.(); voice(s, s.buffer, from, s.context.currentTime, 0); follow(s);
}

const toggle = (s) => { s.following = true; if (s.voice) { silence(s); refresh(s); } else play(s, s.region ? s.region.from / s.rate : 0); };     // from what is selected

function takeOver(s, buffer) {          // a new sound is there: what plays goes over into it
  s.buffer = buffer;
  if (!buffer) silence(s);
  else if (s.voice) {
    const when = s.context.currentTime + 0.03, offset = position(s, when);
    fadeOut(s, when); voice(s, buffer, offset, when, FADE);
  } else if (s.playFrom !== null) play(s, s.playFrom);
  s.playFrom = null; s.root.dataset.sounds = s.sounds += buffer ? 1 : 0; refresh(s);
}

async function newSound(s) {            // only the newest is heard, however long the older ones take to be decoded
  const sound = s.model.get("sound"), mine = s.decoding = {};
  const buffer = sound?.byteLength ? await decode(sound).catch(() => null) : null;
  if (mine === s.decoding && !s.closed) takeOver(s, buffer);
}

function playSoon(s, content) {         // Python: play the sound that is on its way, or is there `now`, unless something plays
  if (content.now) { if (!s.voice) play(s, content.at); return; }
  s.playFrom = s.voice ? null : content.at;
}

// ---- gestures

function seek(s, e) {                   // a click below the lanes plays from there
  const { x } = within(s.canvas.getBoundingClientRect(), s.place, e);
  if (x >= s.place.left && x <= s.place.right) { s.following = true; play(s, frameAt(s, x) / s.rate); }
}

// ---- selecting: `s.region` is what is selected, `s.clip` what was copied

const EDGE = 7;                         // pixels around the edge of a region that take hold of it

function setRegion(s, region) {
  s.region = region; loopAgain(s);
  if (s.regionBar) showRegion(s);
  repaint(s);
}

function change(s, act) {               // one thing that can be undone
  const before = s.values.slice();
  act();
  if (!same(before, s.values)) { remember(s, before); commit(s); }
}

function hold(s, box, e) {              // what a pointer takes hold of: an edge of the region, the region, or nothing
  if (!s.region?.lanes.includes(box.lane.label)) return "";
  const { x } = within(s.canvas.getBoundingClientRect(), s.place, e), [a, b] = [xOf(s, s.region.from), xOf(s, s.region.to)], reach = e.pointerType === "touch" ? 2 * EDGE : EDGE;
  const near = (edge) => Math.abs(x - edge) < Math.min(reach, Math.max(4, (b - a) / 3));
  return near(b) ? "end" : near(a) ? "start" : x > a && x < b ? "move" : "";
}

function selecting(s, to) {             // the gesture of the tool Select so far, from what there was before it
  const { grip, first, before, region, box, copy } = s.drag, by = to.f - first.f;
  s.values = before.slice();
  if (!grip) {                          // a new one, over the lanes from the first to this one
    const [i, k] = [box, to.box || box].map(({ lane }) => s.lanes.indexOf(lane)).sort((p, q) => p - q);
    s.region = to.f === first.f ? null : regionOf(s, first.f + (by < 0 ? 1 : 0), to.f + (by > 0 ? 1 : 0), s.lanes.slice(i, k + 1));
  } else if (grip === "move") {
    const clip = clipOf(s, region);
    if (!copy) openRegion(s, region);
    s.region = paste(s, clip, onGrid(s, region.from + by)) || region;
  } else {                              // an edge: what is inside is drawn out or pressed together
    const clip = clipOf(s, region), [from, to_] = grip === "end" ? [region.from, onGrid(s, region.to + by)] : [onGrid(s, region.from + by), region.to];
    if (to_ - from < 1) return;
    openRegion(s, region); s.region = paste(s, stretched(clip, to_ - from), from) || region;
  }
}

const REGION_ACTS = {                   // what can be done with what is selected
  copy: (s) => { s.clip = clipOf(s, s.region); s.say("copied; select where it goes, and paste"); showRegion(s); },
  cut: (s) => { s.clip = clipOf(s, s.region); change(s, () => openRegion(s, s.region)); showRegion(s); },
  paste: (s) => { if (s.clip) change(s, () => setRegion(s, paste(s, s.clip, s.region ? s.region.from : onGrid(s, s.cursor)))); },
  repeat: (s) => change(s, () => setRegion(s, paste(s, clipOf(s, s.region), s.region.to) || s.region)),
  clear: (s) => change(s, () => openRegion(s, s.region)),
  none: (s) => setRegion(s, null),
};

const regionAct = (s, name) => { if (s.region || name === "paste") REGION_ACTS[name](s); };

function shiftRegion(s, by) {           // by so many frames
  change(s, () => { const clip = clipOf(s, s.region); openRegion(s, s.region); setRegion(s, paste(s, clip, onGrid(s, s.region.from + by))); });
}

function regionBar(s) {
  const button = (label, title, act) => make("button", { type: "button", title, ariaLabel: title, onclick: act }, label), act = (label, title, name) => button(label, title, () => regionAct(s, name));
  const levels = s.lanes.some((l) => l.kind === "level"), notes = s.lanes.some((l) => l.kind === "notes"), inside = (f) => { if (s.region) change(s, () => f(s.region)); };
  const factors = [25, 50, 80, 125, 200], semitones = { "octave up": 12, "semitone up": 1, "semitone down": -1, "octave down": -12 };
  const frames = { "half as long": .5, "twice as long": 2 };
  const scale = menu("Scale ▾", "Scale what is selected", [...(levels ? [["Level", factors.map((n) => `${n} %`)]] : []), ["Time", Object.keys(frames)], ...(notes ? [["Pitch", Object.keys(semitones)]] : [])], (heading, name) => inside((region) => {
    if (heading === "Level") scaleRegion(s, region, parseInt(name) / 100);
    else if (heading === "Pitch") transposeRegion(s, region, semitones[name]);
    else { const clip = clipOf(s, region); openRegion(s, region); setRegion(s, paste(s, stretched(clip, Math.max(1, Math.round(clip.frames * frames[name]))), region.from)); }
  }));
  s.regionSaid = make("span"); s.pasting = act("Paste", "Paste what was copied", "paste"); s.ofRegion = group(act("Copy", "Copy what is selected", "copy"), act("Repeat", "Repeat what is selected, right after it", "repeat"), scale, act("Clear", "Leave what is selected to the model", "clear"));
  return s.regionBar = make("div", { className: "bar region", role: "toolbar", ariaLabel: "What is selected", hidden: true }, s.regionSaid, s.ofRegion, group(s.pasting, act("✕", "End the selection", "none")));
}

function showRegion(s) {                // its bar, when no gesture is under way: nothing moves under the pointer
  const { region, clip } = s, seconds = (f) => (f / s.rate).toFixed(2);
  s.regionBar.hidden = !region && !clip || s.drag?.grip === ""; s.ofRegion.hidden = !region; s.pasting.disabled = !clip;
  s.ofRegion.style.display = region ? "" : "none";
  s.regionSaid.textContent = region ? `${seconds(region.from)} to ${seconds(region.to)} s, ${region.lanes.length === s.lanes.length ? "all lanes" : region.lanes.join(", ")}` : "nothing is selected";
  s.root.dataset.region = region ? `${region.from} ${region.to} ${region.lanes.join()}` : "";
}

const REST = 150, STILL = 8;            // milliseconds; pixels that a finger may slip before it draws

function rest(s) {                      // live, a gesture is also heard while the finger rests
  clearTimeout(s.resting);
  if (s.live) s.resting = setTimeout(() => { if (s.drag && !same(s.told, s.values)) commit(s); }, REST);
}

function bindPointer(s) {               // s.drag: whose gesture it is, its lane, first and last point, and the values before it
  const apply = (to) => {
    const { box, first, last, before } = s.drag, lane = box.lane, grid = gridStep(s) > 0;
    if (s.tool === "select") selecting(s, to);
    else if (s.tool === "band") bandStroke(s, lane, last, to);
    else if (s.tool === "line") {
      s.values = before.slice();
      const [a, b] = [first, to].map((p) => onGrid(s, p.f)), end = (p, f) => ({ v: p.v, f: clamp(f, 0, s.frames - 1) });
      if (!grid) stroke(s, lane, first, to); else if (a !== b) stroke(s, lane, end(first, a < b ? a : a - 1), end(to, a < b ? b - 1 : b));
    } else if (s.tool === "erase" && grid) erase(s, lane, { f: cellAt(s, Math.min(last.f, to.f))[0] }, { f: cellAt(s, Math.max(last.f, to.f))[1] - 1 });
    else ({ draw: grid ? steps : stroke, smooth, erase })[s.tool](s, lane, last, to);
    s.drag.last = to; repaint(s); rest(s);
  };
  const mine = (e) => s.drag?.pointer === e.pointerId;
  const stop = (e) => {
    if (!mine(e)) return;
    const { before, widths, grip, first, last } = s.drag, selected = s.tool === "select";
    if (grip === "move" && first.f === last.f) s.region = null;           // a click
    s.drag = null;
    if (widths !== s.widths) { remember(s, before, widths); tellBands(s); }
    else if (!same(before, s.values)) { remember(s, before); commit(s); }
    if (selected) setRegion(s, s.region);
  };
  const free = (e) => {                 // may this pointer begin? Not a second one; but a pen takes back what the palm has smeared
    stop(e);
    if (s.drag && e.pointerType === "pen" && s.drag.type !== "pen") { s.values = s.drag.before; s.widths = s.drag.widths; s.drag = null; }
    return !s.drag;
  };
  s.canvas.addEventListener("pointerdown", (e) => {
    const box = boxAt(s, e);
    if (!box && e.button <= 0) seek(s, e);
    if (!box || e.button > 0 || s.pinch || s.changing || !free(e)) return;
    const at = pointAt(s, box, e);
    if (s.tool !== "select" && isLocked(s, box.lane)) { tellLocked(s, box.lane); return; }
    if (s.tool === "band" && !banded(box.lane)) { s.say(`${box.lane.label} is on or off; it has no band`); return; }
    s.canvas.setPointerCapture(e.pointerId); s.active = s.place.boxes.indexOf(box); s.keyboard = false; s.cursor = clamp(at.f, 0, lastStep(s));
    s.drag = { pointer: e.pointerId, type: e.pointerType, box, first: at, last: at, before: s.values.slice(), widths: s.widths, region: s.region, x: e.clientX, y: e.clientY, travelled: false };
    if (s.tool === "select") Object.assign(s.drag, { grip: hold(s, box, e), copy: e.altKey || e.ctrlKey || e.metaKey });
    s.following = false;
    if (s.tool !== "line") apply(at);
    e.preventDefault(); s.canvas.focus({ preventScroll: true });
  });
  s.canvas.addEventListener("pointermove", (e) => {
    if (s.pinch || s.drag && !mine(e)) return;
    if (s.drag) s.drag.travelled ||= Math.hypot(e.clientX - s.drag.x, e.clientY - s.drag.y) > STILL;
    const over = s.drag?.box || boxAt(s, e);
    if (over && (s.drag || !e.buttons)) { const p = pointAt(s, over, e); s.say(describe(s, over.lane, p.f, p.v)); }
    if (!s.drag && s.tool === "select" && over) s.canvas.style.cursor = { start: "ew-resize", end: "ew-resize", move: "move" }[hold(s, over, e)] || "text";
    if (s.drag) for (const each of (e.getCoalescedEvents?.().length ? e.getCoalescedEvents() : [e])) apply({ ...pointAt(s, s.drag.box, each), box: boxAt(s, each) });
  });
  s.below.addEventListener("click", (e) => { if (!s.ruled) seek(s, e); });
  s.below.addEventListener("pointerdown", (e) => { s.ruled = null; if (e.button <= 0 && e.pointerType !== "touch") { s.ruler = pointAt(s, s.place.boxes[0], e).f; s.ruledFrom = e.clientX; s.below.setPointerCapture(e.pointerId); } });
  s.below.addEventListener("pointermove", (e) => {      // a drag along the time axis selects all lanes; a finger scrolls the page there
    if (s.ruler === undefined) return;
    const { f } = pointAt(s, s.place.boxes[0], e);
    if (!s.ruled && Math.abs(e.clientX - s.ruledFrom) < STILL / 2) return;
    s.ruled = true; setRegion(s, regionOf(s, s.ruler, f + 1));
  });
  for (const end of ["pointerup", "pointercancel"]) s.below.addEventListener(end, () => { s.ruler = undefined; });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) s.canvas.addEventListener(end, stop);
}

function bindNames(s) {                 // a click on a lane's name chooses the lane; a finger scrolls the page there
  s.names.addEventListener("click", (e) => {
    const box = boxAt(s, e);
    if (!box) return;
    s.active = s.place.boxes.indexOf(box); s.canvas.focus({ preventScroll: true }); s.keyboard = true;
    s.say(describe(s, box.lane, s.cursor, s.values[at(s, box.lane, s.cursor)])); repaint(s);
  });
}

function noteName(lane, v) {
  const midi = lane.midi + Math.round(v * lane.steps);
  return NOTES[midi % 12] + (scrolls(lane) ? Math.floor(midi / 12) - 1 : "");
}

function amount(lane, v) {              // a value as people say it
  if (v < 0) return "open";
  if (lane.kind === "gate") return v < .5 ? "off" : "on";
  if (lane.kind === "notes") return v < least(lane) ? "none" : noteName(lane, v);
  if (!lane.unit) return v.toFixed(2);
  const there = lane.from + (lane.to - lane.from) * v;
  return v > 0 ? `${Math.round(lane.unit === "Hz" ? 440 * 2 ** ((there - 69) / 12) : there)} ${lane.unit}` : "lowest";
}

const describe = (s, lane, f, v) => `${lane.label} ${amount(lane, v)}${widthsOf(s, lane) ? ` ± ${widthText(lane, widthAt(s, lane, f))}` : ""} at ${(f / s.rate).toFixed(2)} s`;

function bindKeys(s) {
  const lane = () => s.lanes[s.active];
  const value = () => s.values[at(s, lane(), s.cursor)], end = (f) => Math.min(s.frames - 1, f + hop(s) - 1);
  const edit = (act) => { if (isLocked(s, lane())) tellLocked(s, lane()); else change(s, act); };
  const level = (v) => edit(() => stroke(s, lane(), { f: s.cursor, v }, { f: end(s.cursor), v }));
  const nudge = (by) => {
    const l = lane(), d = l.kind === "notes" ? 1 / l.steps : l.kind === "gate" ? 1 : .05;
    const v = l.gate && value() <= 0 ? (s.bottom[l.label] + (l.span >> 1)) / l.steps : Math.max(0, value());
    level(clamp(Math.round((v + by * d) / d) * d, least(l), 1)); fit(s);
  };
  const move = (by, carry) => { const v = value(); s.cursor = clamp(s.cursor + by * hop(s), 0, lastStep(s)); if (carry && v >= 0) level(v); };
  const zoomKey = (factor) => zoomBy(s, factor, s.region ? undefined : s.cursor + hop(s) / 2);
  const arrow = (by) => { if (s.tool === "band") widen(s, lane(), by, s.cursor, end(s.cursor) + 1); else nudge(by); };
  const acts = {
    ArrowLeft: (e) => move(-1, e.shiftKey), ArrowRight: (e) => move(1, e.shiftKey), ArrowUp: () => arrow(1), ArrowDown: () => arrow(-1),
    Home: () => { s.cursor = 0; }, End: () => { s.cursor = lastStep(s); },
    PageDown: () => { s.active = (s.active + 1) % s.lanes.length; }, PageUp: () => { s.active = (s.active + s.lanes.length - 1) % s.lanes.length; },
    Delete: () => s.tool === "band" ? isLocked(s, lane()) ? tellLocked(s, lane()) : changeBands(s, () => { if (widthsOf(s, lane())) endBand(s, lane()); }) : edit(() => erase(s, lane(), { f: s.cursor }, { f: end(s.cursor) })), " ": () => toggle(s),
  };
  acts["+"] = acts["="] = () => zoomKey(2); acts["-"] = () => zoomKey(.5); acts["0"] = () => setView(s, 0, s.frames); acts.z = acts.Z = () => zoomToRegion(s);
  acts.Backspace = acts.Delete; acts.l = acts.L = () => toggleLock(s, lane());
  const grow = (by) => {                // the selection, from where the cursor was when it began
    s.anchor ??= s.cursor; s.cursor = clamp(s.cursor + by * hop(s), 0, lastStep(s)); reveal(s, s.cursor, s.cursor + hop(s));
    const [a, b] = [s.anchor, s.cursor].sort((p, q) => p - q);
    setRegion(s, regionOf(s, a, b + hop(s), [lane()]));
  };
  const selected = {                    // keys that mean something else while something is selected
    Delete: () => regionAct(s, "clear"), Backspace: () => regionAct(s, "clear"), Escape: () => regionAct(s, "none"),
    ArrowUp: () => change(s, () => { scaleRegion(s, s.region, 1.1); transposeRegion(s, s.region, 1); }), ArrowDown: () => change(s, () => { scaleRegion(s, s.region, 1 / 1.1); transposeRegion(s, s.region, -1); }),
  };
  const withControl = { c: "copy", x: "cut", v: "paste", d: "repeat" };
  const forRegion = (e) => {            // what a key does with a selection, or nothing
    const key = e.key, way = { ArrowLeft: -1, ArrowRight: 1 }[key], letter = (e.ctrlKey || e.metaKey) && key.toLowerCase();
    if (letter === "a") return () => setRegion(s, regionOf(s, 0, s.frames));
    if (letter && withControl[letter] && (s.region || s.clip)) return () => regionAct(s, withControl[letter]);
    if (letter) return null;
    if (s.tool === "select" && way && e.shiftKey) return () => grow(way);
    if (s.region && way && e.altKey) return () => shiftRegion(s, way * hop(s));
    return s.region && (s.tool === "select" || key === "Escape") && !e.altKey && selected[key];
  };
  s.canvas.addEventListener("keydown", (e) => {
    if (s.changing) return;
    const tool = Object.keys(TOOLS)["123456".indexOf(e.key)], ofRegion = forRegion(e);
    if (!e.shiftKey) s.anchor = undefined;
    if (ofRegion) { ofRegion(); s.say(s.region ? s.regionSaid.textContent : "nothing is selected"); }
    else if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === "z") (e.shiftKey ? redo : undo)(s);
    else if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === "y") redo(s);
    else if (tool && !e.ctrlKey) s.tool = tool;
    else if (acts[e.key] && !e.ctrlKey && !e.metaKey) { s.keyboard = true; const said = s.saying, where = s.cursor; acts[e.key](e); if (s.cursor !== where) reveal(s, s.cursor, s.cursor + hop(s)); if (said === s.saying) s.say(describe(s, lane(), s.cursor, value())); }
    else return;
    e.preventDefault(); e.stopPropagation(); refresh(s);
  });
  s.canvas.addEventListener("blur", () => { s.keyboard = false; repaint(s); });
}

// ---- the bar of buttons

function make(tag, props = {}, ...children) { const e = Object.assign(document.createElement(tag), props); e.append(...children); return e; }

function faced(symbol, word) { return [symbol, make("span", { className: "word" }, word)]; }      // what a button shows

function menu(text, title, groups, pick) {      // a button and its list, for mouse, finger and keyboard; groups are [heading, names]
  const items = [], box = make("div", { className: "choice" }), list = make("div", { className: "menu", role: "menu", hidden: true, ariaLabel: title });
  const button = make("button", { type: "button", title, ariaLabel: title, ariaHasPopup: "menu", ariaExpanded: "false" }, text);
  const show = (open) => { list.hidden = !open; button.ariaExpanded = String(open); };
  const open = (i) => { show(true); items[i].focus(); }, back = () => { show(false); button.focus(); };
  const item = (heading, name) => {
    const one = make("button", { type: "button", role: "menuitem", tabIndex: -1, ariaLabel: heading ? `${heading}: ${name}` : name, onclick: () => { back(); pick(heading, name); } }, name);
    items.push(one);
    return one;
  };
  list.append(...groups.map(([heading, names]) => make("div", { role: "group", ariaLabel: heading }, ...(heading ? [make("b", {}, heading)] : []), ...names.map((n) => item(heading, n)))));
  button.onclick = () => { if (list.hidden) open(0); else back(); };
  box.addEventListener("keydown", (e) => {
    if (list.hidden && !e.key.startsWith("Arrow")) return;
    const i = items.indexOf(document.activeElement), last = items.length - 1, letter = (n) => e.key.length === 1 && items[n].textContent.toLowerCase().startsWith(e.key.toLowerCase());
    const to = { ArrowDown: i < last ? i + 1 : 0, ArrowUp: i > 0 ? i - 1 : last, Home: 0, End: last }[e.key] ?? [...items.keys()].map((k) => (i + 1 + k) % items.length).find((n) => i >= 0 && e.key !== " " && letter(n));
    if (e.key === "Escape" && !list.hidden) back(); else if (to === undefined) return; else open(to);
    e.preventDefault(); e.stopPropagation();
  });
  box.addEventListener("focusout", (e) => { if (!box.contains(e.relatedTarget)) show(false); });
  list.addEventListener("pointerdown", (e) => e.preventDefault());      // the focus stays, or the list would close before the click
  box.append(button, list);
  return box;
}

const MOST = 8;                         // MB; a Jupyter server cuts the connection at messages of 10

function ask(s, content, buffers = []) { // a request; whoever has gone is not asked
  if (s.listens === GONE) { tellUnheard(s); return; }
  if (s.listens === WAITING) s.say("asked; the kernel has not answered yet: it is busy, or the cell is to be run");
  try { s.model.send(content, undefined, buffers); } catch (e) { s.say(`the kernel cannot be reached (${e.message}); run the cell again`); }
}

async function openFile(s, file, kind = "open") {       // its curves are drawn; or, in the studio, takes begin with its sound
  if (!file) return;
  const name = file.name.toLowerCase(), endings = s.model.get("opens");
  if (!endings.some((e) => name.endsWith(e))) { s.say(`${file.name} cannot be opened here; what can be ends in ${endings.join(", ")}`); return; }
  if (file.size > MOST * 1e6) { s.say(`${file.name} has ${Math.ceil(file.size / 1e6)} MB; at most ${MOST} can be opened here, so take an excerpt, or jingles.control.draw.opened`); return; }
  s.say(`reading ${file.name}`);
  try { ask(s, { kind, name: file.name }, [await file.arrayBuffer()]); }
  catch (e) { s.say(`${file.name} cannot be read (${e.message})`); }
}

async function decoded(parts) {         // what was recorded, as {rate, samples}
  const context = new AudioContext();
  try {
    const sound = await context.decodeAudioData(await new Blob(parts).arrayBuffer());
    return { rate: sound.sampleRate, samples: sound.getChannelData(0).slice() };
  } finally { context.close(); }
}

const SILENT = {
  NotAllowedError: "the browser does not allow the microphone here; allow it beside the page's address and click again",
  NotFoundError: "there is no microphone; plug one in, or open a recording",
  NotReadableError: "the microphone is in use elsewhere, or switched off; free it and click again",
};

async function record(s) {              // hum or play into the microphone; a second click ends it
  if (s.recorder) { s.recorder.stop(); return; }
  if (s.asking) return;                 // the browser still asks whether we may
  if (!navigator.mediaDevices?.getUserMedia) { s.say("the microphone needs https or localhost: open this page so, or open a recording"); return; }
  s.asking = true;
  let stream = null;
  const off = () => { stream?.getTracks().forEach((t) => t.stop()); s.recorder = null; };
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    if (s.closed) { off(); return; }
    const parts = [], recorder = s.recorder = new MediaRecorder(stream);
    const end = setTimeout(() => recorder.state === "recording" && recorder.stop(), 1000 * s.frames / s.rate);
    recorder.ondataavailable = (e) => parts.push(e.data);
    recorder.onstop = async () => {
      clearTimeout(end); off();
      if (s.closed) return;
      refresh(s);
      try { const { rate, samples } = await decoded(parts); s.say("listening to what was recorded"); ask(s, { kind: "sound", rate }, [samples.buffer]); }
      catch (e) { s.say(`what was recorded cannot be read (${e.message}); try again, or open a recording`); }
    };
    recorder.start(); s.say("recording; click again to stop"); refresh(s);
  } catch (e) { off(); s.say(SILENT[e.name] || `no microphone to be had (${e.message})`); }
  finally { s.asking = false; }
}

function download(_, content, buffers) {
  const url = URL.createObjectURL(new Blob([buffers[0]]));
  make("a", { href: url, download: content.name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

function group(...parts) { return make("div", { className: "group" }, ...parts); }

function bar(s) {
  const b = s.buttons = {};
  const button = (name, title, onclick, ...face) => b[name] = make("button", { type: "button", title, onclick, ariaLabel: title }, ...face);
  const tools = Object.keys(TOOLS).map((t, i) => button(t, `${HELP[t]} (${i + 1})`, () => { s.tool = t; s.say(HELP[t]); refresh(s); }, ...faced(...TOOLS[t])));
  const snap = b.snap = make("input", { type: "checkbox", checked: true, title: "Notes are drawn as whole semitones", onchange: () => { s.snap = snap.checked; } });
  const presets = menu("Presets ▾", "Presets", Object.entries(s.model.get("presets")), (feature, name) => ask(s, { kind: "preset", feature, name }));
  b.seconds = make("input", { type: "number", min: 1, max: s.model.get("longest"), step: .5, ariaLabel: "Length in seconds", title: "Length in seconds", style: "width: 4em",
    onchange: () => ask(s, { kind: "length", seconds: +b.seconds.value }) });
  const file = make("input", { type: "file", hidden: true, accept: s.model.get("opens").join(), onchange: () => { openFile(s, file.files[0]); file.value = ""; } });
  const save = menu("Save ▾", "Save the curves", [["", s.model.get("saves")]], (_, ending) => ask(s, { kind: "save", ending }));
  const octaves = s.lanes.filter(scrolls).flatMap((lane) => [["▾", "down", -12], ["▴", "up", 12]].map(([text, way, by]) =>
    button(way, `The ${lane.label} lane an octave ${way}`, () => { scroll(s, lane, s.bottom[lane.label] + by); repaint(s); }, `8va ${text}`)));
  const loop = button("loop", "Loop the playback", () => { s.loop = !s.loop; loopAgain(s); refresh(s); }, "⟳");
  return make("div", { className: "bar", role: "toolbar" },
    group(button("play", "Play the result (space)", () => toggle(s), "▶"), loop), group(...tools, bandMenu(s)),
    group(button("undo", "Undo (Ctrl+Z)", () => undo(s), "↶"), button("redo", "Redo (Ctrl+Y)", () => redo(s), "↷")),
    group(make("label", {}, snap, "snap"), ...octaves), gridGroup(s), group(presets, make("label", {}, b.seconds, "s")),
    group(button("open", "Curves (CSV, JSON, NPZ), a MIDI file, or a sound to follow", () => file.click(), "Open"), file, save,
      button("record", "Hum or play into the microphone", () => record(s), ...faced("●", "Hum"))), s.chips = group());
}

const GRIDS = [["Grid off", 0], ["1/4", 1], ["1/8", 2], ["1/8 T", 3], ["1/16", 4], ["1/16 T", 6], ["1/32", 8]];    // divisions of a beat

function gridGroup(s) {                 // of the tempo: what is drawn or selected goes to its lines
  const b = s.buttons, tell = (change) => { s.grid = { ...s.grid, ...change }; ask(s, { kind: "grid", ...s.grid }); refresh(s); };
  b.grid = make("select", { title: "Grid: what is drawn and selected snaps to it", ariaLabel: "Grid", onchange: () => tell({ division: GRIDS[b.grid.selectedIndex][1] }) }, ...GRIDS.map(([name]) => make("option", {}, name)));
  b.bpm = make("input", { type: "number", min: 20, max: 400, step: 1, ariaLabel: "Tempo in beats per minute", title: "Tempo in beats per minute", style: "width: 4.2em", onchange: () => { const bpm = +b.bpm.value; if (bpm >= 20 && bpm <= 400) tell({ bpm }); else refresh(s); } });
  return group(b.grid, b.bpm, make("label", {}, "bpm"));
}

function timeBar(s) {                   // under the board: zoom, and what is seen of the time axis
  const how = "Ctrl+wheel or two fingers zoom where they are, Shift+wheel scrolls";
  const button = (name, title, act, face) => s.buttons[name] = make("button", { type: "button", title, ariaLabel: title, onclick: act }, face);
  const zoom = group(button("out", `Zoom out (-). ${how}`, () => zoomBy(s, .5), "−"), button("closer", `Zoom in (+). ${how}`, () => zoomBy(s, 2), "+"), button("whole", "Show all of the time (0); Z shows what is selected", () => setView(s, 0, s.frames), "↔"));
  return make("div", { className: "timebar" }, zoom, s.overview = overview(s));
}

const LOCK = '<svg viewBox="0 0 14 18" aria-hidden="true"><rect x="1" y="8" width="12" height="9" rx="1.5" fill="currentColor"/><path d="M3.5 8V5a3.5 3.5 0 0 1 7 0v3" fill="none" stroke="currentColor" stroke-width="1.8"/></svg>';

function padlock(s, lane) {             // beside the name of the first lane of a feature
  return make("button", { type: "button", className: "padlock", tabIndex: -1, innerHTML: LOCK, onclick: (e) => { e?.stopPropagation(); toggleLock(s, lane); } });
}

function heardLocks(s) { s.locked = s.model.get("locked") || []; refresh(s); }
function heardGrid(s) { s.grid = s.model.get("grid") || { bpm: 120, division: 0 }; refresh(s); }

function refresh(s) {                   // buttons and picture as the state says
  const b = s.buttons;
  for (const t of Object.keys(TOOLS)) b[t].ariaPressed = String(t === s.tool);
  b.undo.disabled = !s.past.length; b.redo.disabled = !s.future.length; b.play.disabled = !s.buffer; b.loop.ariaPressed = String(!!s.loop);
  b.play.textContent = s.voice ? "■" : "▶"; b.record.ariaPressed = String(!!s.recorder);
  s.root.dataset.playing = String(!!s.voice);
  for (const [lane, lock] of s.padlocks) { const on = isLocked(s, lane); lock.ariaPressed = String(on); lock.title = lock.ariaLabel = `${on ? "Unlock" : "Lock"} ${featureOf(lane)}: ${on ? "it can be changed again" : "nothing changes its curve"} (L)`; }
  b.snap.checked = s.snap; b.grid.selectedIndex = GRIDS.findIndex(([, division]) => division === s.grid.division);
  if (document.activeElement !== b.bpm) b.bpm.value = s.grid.bpm;
  s.canvas.style.cursor = s.tool === "select" ? "text" : "";
  if (document.activeElement !== b.seconds) b.seconds.value = +(s.frames / s.rate).toFixed(2);
  repaint(s);
}

function close(s) {                     // nothing plays, and nobody listens
  s.closed = true; clearTimeout(s.resting); silence(s); s.context?.close();
  if (s.recorder) s.recorder.stop();
}

export function board({ model, el, again = false }) {          // the view, as its state; `close` ends it. One that takes the place of another, of other lanes, takes nothing up
  const s = { model, again, lanes: model.get("lanes"), rate: model.get("rate"), values: floats(model.get("data")), past: [], future: [],
    tool: "draw", snap: true, active: 0, cursor: 0, keyboard: false, drag: null, loudness: [], measured: [], mismatches: [], bottom: {}, locked: model.get("locked") || [], grid: model.get("grid") || { bpm: 120, division: 0 }, region: null, clip: null, widths: model.get("widths") || {},
    part: model.get("voice") || 0, behind: [], stash: {}, changing: false,
    view: null, following: false, pinch: false, buffer: null, voice: null, loop: false, playFrom: null, sounds: 0, live: false };
  s.told = s.values.slice(); s.frames = s.values.length / s.lanes.length;
  for (const lane of s.lanes) scroll(s, lane, MIDDLE - lane.midi);
  fit(s);
  s.canvas = make("canvas", { tabIndex: 0, role: "application", ariaLabel: `Control curves over time: ${KEYS}` });
  const said = make("div", { className: "said", role: "status", ariaLive: "polite" });
  s.say = (text) => { said.textContent = text; s.saying = (s.saying || 0) + 1; };
  s.names = make("div", { className: "names", title: "Click: the lane for the keyboard. A finger scrolls the page here" }, s.hand = make("span", {}, "⇕ page")); s.below = make("div", { className: "below" });
  s.padlocks = s.lanes.filter((lane) => s.lanes.find((l) => featureOf(l) === featureOf(lane)) === lane).map((lane) => [lane, padlock(s, lane)]);
  s.names.append(...s.padlocks.map(([, lock]) => lock));
  s.notice = make("div", { className: "notice", role: "alert" });
  const field = make("div", { className: "field" }, s.canvas, s.names, s.below);
  s.root = make("div", { className: "jingles-draw" }, make("style", {}, STYLE), bar(s), s.notice, field, timeBar(s), regionBar(s), said);
  s.root.dataset.lmSuppressShortcuts = "true";          // JupyterLab's own keys stay out of the drawing
  el.append(s.root);
  s.root.addEventListener("dragover", (e) => e.preventDefault());
  s.root.addEventListener("drop", (e) => { e.preventDefault(); e.stopPropagation(); openFile(s, e.dataTransfer.files[0]); });
  bindPointer(s); bindNames(s); bindKeys(s); bindZoom(s, field); heardVoices(s); showView(s); newPicture(s); newSound(s); s.say("Draw in a lane. No kernel has answered yet: run the cell, and what is drawn is taken up.");

  const heard = { "change:data": () => heardFromPython(s), "change:message": () => { s.changing = false; s.say(model.get("message")); }, "msg:custom": (content, buffers) => ({ hello: answered, file: download, play: playSoon })[content?.kind]?.(s, content, buffers),
    "change:sound": () => newSound(s), lost: () => lostServer(s), "change:locked": () => heardLocks(s), "change:grid": () => heardGrid(s), "change:widths": () => heardBands(s), "change:voice": () => heardVoices(s), "change:voice_count": () => heardVoices(s), "change:others": () => heardVoices(s), ...Object.fromEntries(["mel", "loudness", "measured", "mismatches"].map((k) => [`change:${k}`, () => newPicture(s)])) };
  for (const [event, f] of Object.entries(heard)) model.on(event, f);
  const deaf = listen(s);
  const size = new ResizeObserver(() => repaint(s)), newTheme = () => setTimeout(() => { repaint(s); s.newTheme?.(); }, 100), theme = new MutationObserver(newTheme), dark = window.matchMedia?.("(prefers-color-scheme: dark)");
  size.observe(s.root); theme.observe(document.body, { attributes: true }); dark?.addEventListener("change", newTheme);
  s.close = () => { for (const [event, f] of Object.entries(heard)) model.off(event, f); size.disconnect(); theme.disconnect(); dark?.removeEventListener("change", newTheme); deaf(); close(s); };
  return s;
}
