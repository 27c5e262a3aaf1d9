
// ---- the studio: what stands around the board of control/draw.js, in the same module. Python describes each setting in the
// trait `options` and holds its value in `settings`; a page only asks. No words that are shown decide anything.

const STUDIO = `
.jingles-draw .primary { background: var(--brand); border-color: var(--brand); color: var(--on-brand); font-weight: 600; padding: 3px 14px; }
.jingles-draw .live[aria-pressed=true] { background: #c62828; border-color: #c62828; box-shadow: none; color: #fff; }
.jingles-draw .jingles-status { color: var(--dim); flex: 1 1 140px; min-width: 0; overflow-wrap: anywhere; } .jingles-draw .jingles-status.long { flex-basis: 100%; }
.jingles-draw progress { width: 100%; height: 3px; display: block; border: 0; accent-color: var(--brand); margin-bottom: 4px; } .jingles-draw progress.idle { visibility: hidden; }
.jingles-draw .strip { display: flex; gap: 8px; overflow-x: auto; padding: 2px; } .jingles-draw .strip:empty { display: none; }
.jingles-draw .take { flex: 0 0 214px; border: 1px solid var(--faint); border-radius: 6px; padding: 5px; box-sizing: border-box; }
.jingles-draw .receipt { color: var(--dim); font-size: 12px; white-space: pre-line; margin-top: 4px; } .jingles-draw .receipt:empty { display: none; }
.jingles-draw .take.shown { border-color: var(--brand); box-shadow: inset 0 0 0 1px var(--brand); }
.jingles-draw .take .seen { display: block; width: 100%; padding: 0; border: 0; background: none; } .jingles-draw .take canvas { height: 92px; background: var(--open); }
.jingles-draw .take .how { font-size: 12px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; margin: 3px 0; }
.jingles-draw .take .group > * { height: 26px; padding: 2px 7px; }
.jingles-draw .take .group > .choice { padding: 0; } .jingles-draw .take .choice > button { height: 26px; padding: 2px 7px; }
.jingles-draw .takes { margin: 10px 0 4px; } .jingles-draw .takes > b { font-weight: 600; } .jingles-draw .take .how b { color: var(--brand); }
.jingles-draw .swap { min-width: 64px; font-weight: 600; } .jingles-draw .swap[hidden] { display: none; }
.jingles-draw .take .menu { position: fixed; top: auto; left: auto; }
.jingles-draw details { margin-top: 8px; border-top: 1px solid var(--faint); } .jingles-draw summary { cursor: pointer; padding: 6px 0; font-weight: 600; }
.jingles-draw .sections { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 310px), 1fr)); gap: 6px 24px; align-items: start; }
.jingles-draw fieldset { border: 0; padding: 0; margin: 0; min-width: 0; } .jingles-draw legend { color: var(--dim); padding: 4px 0; }
.jingles-draw .option { display: grid; grid-template-columns: 132px minmax(0, 1fr) 48px; gap: 8px; align-items: center; min-height: 30px; }
.jingles-draw .option > :first-child { overflow-wrap: anywhere; } .jingles-draw .option output { text-align: right; color: var(--dim); font-variant-numeric: tabular-nums; }
.jingles-draw .option input, .jingles-draw .option select { font: inherit; color: inherit; min-width: 0; box-sizing: border-box; }
.jingles-draw .option input[type=number], .jingles-draw .option select { background: var(--paper); border: 1px solid var(--faint); border-radius: 4px; padding: 3px 5px; width: 100%; }
.jingles-draw .option input[type=range] { width: 100%; accent-color: var(--brand); } .jingles-draw .option input[type=checkbox] { justify-self: start; }
.jingles-draw .option .pair { display: flex; gap: 6px; } .jingles-draw .option select[multiple] { height: 92px; }
.jingles-draw fieldset.wide { grid-column: 1 / -1; } .jingles-draw fieldset.wide .rows { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 4px 24px; }
.jingles-draw fieldset.wide .option { display: flex; flex-direction: column; align-items: stretch; gap: 2px; }
@container (max-width: 480px) { .jingles-draw .option { grid-template-columns: minmax(72px, 1fr) minmax(0, 1.6fr) 30px; }
  .jingles-draw .option > select, .jingles-draw .option > input[type=number], .jingles-draw .option > .pair:last-child { grid-column: 2 / -1; }
  .jingles-draw .quality > span, .jingles-draw .variations > span { font-size: 12px; } .jingles-draw .quality > span { display: none; } .jingles-draw .jingles-status { flex-basis: 100%; } }
.jingles-draw .group > label.model { height: auto; flex-wrap: wrap; } .jingles-draw .model input { max-width: 60vw; }
.jingles-draw .limits { margin-top: 8px; color: var(--dim); font-size: 12px; }`;

const tell = (s, name, value) => ask(s, { kind: "set", name, value });

// A control for each kind of setting: an element, and how it shows a value. What is set is heard when it is let go.
const CONTROLS = {
  number: (s, o) => {
    const input = make("input", { type: "number", min: o.low, max: o.high, step: o.step, onchange: () => tell(s, o.name, +input.value) });
    return [[input], (v) => { if (document.activeElement !== input) input.value = v; }];
  },
  range: (s, o) => {
    const input = make("input", { type: "range", min: o.low, max: o.high, step: o.step, oninput: () => { said.textContent = input.value; }, onchange: () => tell(s, o.name, +input.value) }), said = make("output");
    return [[input, said], (v) => { input.value = v; said.textContent = v; }];
  },
  optional: (s, o) => {                 // a number that may be left open, as null
    const asked = make("input", { type: "checkbox", title: o.help, onchange: () => tell(s, o.name, asked.checked ? +input.value : null) });
    const input = make("input", { type: "range", min: o.low, max: o.high, step: o.step, oninput: () => { said.textContent = input.value; }, onchange: () => tell(s, o.name, +input.value) }), said = make("output");
    return [[make("span", { className: "pair" }, asked, input), said], (v) => { asked.checked = v !== null; input.disabled = v === null; input.value = v ?? o.start; said.textContent = v ?? "–"; }];
  },
  choice: (s, o) => {
    const select = make("select", { onchange: () => tell(s, o.name, o.choices[select.selectedIndex][0]) }, ...o.choices.map(([, label]) => make("option", {}, label)));
    return [[select], (v) => { select.selectedIndex = o.choices.findIndex(([value]) => value === v); }];
  },
  name: (s, o) => {                     // one of a list, or one that is typed
    const typed = make("input", { type: "text", hidden: true, size: 24, placeholder: "folder or hf:OWNER/NAME", title: "A trained model: its folder, or hf:OWNER/NAME of the hub; Enter loads it", ariaLabel: `${o.label}: folder or hf:OWNER/NAME`, spellcheck: false, autocomplete: "off", autocapitalize: "off" });
    const select = make("select", { onchange: () => { const choice = o.choices[select.selectedIndex]; typed.hidden = !!choice; if (choice) tell(s, o.name, choice[0]); else typed.focus(); } }, ...o.choices.map(([, label]) => make("option", {}, label)), make("option", {}, "Other …"));
    const show = (v) => { if (typed.hidden) select.selectedIndex = o.choices.findIndex(([value]) => value === v); };
    typed.onkeydown = (e) => {
      if (e.key === "Enter" && typed.value.trim()) tell(s, o.name, typed.value.trim());
      else if (e.key === "Escape") { typed.hidden = true; show(s.model.get("settings")[o.name]); select.focus(); }
    };
    return [[select, typed], show];
  },
  switch: (s, o) => {
    const input = make("input", { type: "checkbox", onchange: () => tell(s, o.name, input.checked) });
    return [[input], (v) => { input.checked = v; }];
  },
  region: (s, o) => {                   // start and end
    const change = () => tell(s, o.name, ends.map((e) => +e.value)), end = (title) => make("input", { type: "number", min: o.low, max: o.high, step: o.step, title, onchange: change });
    const ends = [end("Start"), end("End")];
    return [[make("span", { className: "pair" }, ...ends)], (v) => ends.forEach((e, i) => { if (document.activeElement !== e) e.value = v[i]; })];
  },
  several: (s, o) => {
    const items = o.choices.map(([, label]) => make("option", {}, label));
    const select = make("select", { multiple: true, onchange: () => tell(s, o.name, o.choices.filter((_, i) => items[i].selected).map(([value]) => value)) }, ...items);
    return [[select], (v) => o.choices.forEach(([value], i) => { items[i].selected = v.includes(value); })];
  },
};

function control(s, o) {                // the elements of a setting; what it is called, for those who cannot see it, too
  const [parts, show] = CONTROLS[o.kind](s, o);
  const inner = parts[0].children?.length && parts[0].className === "pair" ? [...parts[0].children] : [parts[0]];
  for (const e of inner) { e.ariaLabel = e.title ? `${o.label}: ${e.title}` : o.label; e.title ||= o.help; e.dataset.option = o.name; }
  s.show[o.name] = show;
  return parts;
}

function generateBar(s) {               // what is changed from take to take
  const of = (name) => s.options.find((o) => o.name === name), b = s.buttons;
  const labelled = (name, width) => { const [e, ...more] = control(s, of(name)); e.style = `width: ${width}`; return make("label", { title: of(name).help, className: name }, make("span", {}, of(name).label), e, ...more); };
  b.generate = make("button", { type: "button", className: "primary jingles-generate", onclick: () => ask(s, { kind: "generate" }) }, "Generate");
  b.cancel = make("button", { type: "button", className: "jingles-stop", title: "Cancel", ariaLabel: "Cancel", onclick: () => ask(s, { kind: "cancel" }) }, "✕");
  b.live = make("button", { type: "button", className: "live", title: "Play while you draw: each change is heard at once", ariaLabel: "Live", onclick: () => tell(s, "live", !s.live) }, "● Live");
  b.advance = make("button", { type: "button", title: "A new seed for each take", ariaLabel: "A new seed for each take", onclick: () => tell(s, "new_seed", !s.model.get("settings").new_seed) }, "+1");
  b.dice = make("button", { type: "button", title: "A random seed", ariaLabel: "A random seed", onclick: () => tell(s, "seed", Math.floor(Math.random() * (of("seed").high + 1))) }, "⚄");
  s.status = make("span", { className: "jingles-status", role: "status" });
  return [make("div", { className: "bar" }, group(b.generate, b.cancel, b.live), group(labelled("seed", "6.4em"), b.dice, b.advance), group(labelled("variations", "3.3em")), group(labelled("quality", "auto")), ...(of("model") ? [group(labelled("model", "auto"))] : []), s.status), s.bar = make("progress", { max: 1, value: 0, className: "idle" })];
}

function section(name, options, row) {  // lists are tall: they stand side by side
  return make("fieldset", { className: options.every((o) => o.kind === "several") ? "wide" : "" }, make("legend", {}, name), make("div", { className: "rows" }, ...options.map(row)));
}

function advanced(s) {
  const folded = s.options.filter((o) => o.section), sections = [...new Set(folded.map((o) => o.section))];
  const row = (o) => make("label", { className: "option", title: o.help }, make("span", {}, o.label), ...control(s, o));
  return make("details", { className: "advanced" }, make("summary", {}, "Advanced"),
    make("div", { className: "sections" }, ...sections.map((name) => section(name, folded.filter((o) => o.section === name), row))));
}

// ---- takes

function takesBar(s) {                  // what is done with the strip
  const b = s.buttons, button = (label, title, onclick) => make("button", { type: "button", title, ariaLabel: title, onclick }, label);
  const file = make("input", { type: "file", hidden: true, className: "begin", accept: s.model.get("opens").join(), onchange: () => { openFile(s, file.files[0], "begin"); file.value = ""; } });
  b.begin = button("+ Your sound", "Start from a sound of your own: the next takes are variations of it", () => file.click());
  b.saveAll = button("⤓ Save all", "Save all takes, as sound files in a ZIP archive", () => ask(s, { kind: "save_all" }));
  b.instrument = button("⤓ Instrument", "Sample the drawn velocity at many keys: an SFZ instrument in a ZIP archive; Advanced says which keys", () => ask(s, { kind: "instrument" }));
  b.instrument.hidden = !s.options.some((o) => o.section === "Instrument");
  b.swap = button("A/B", "Switch between A and B, equally loud, while it plays (B)", () => ask(s, { kind: "swap" })); b.swap.className = "swap";
  s.canvas.addEventListener("keyup", (e) => { if (e.key === "b" && !b.swap.hidden) ask(s, { kind: "swap" }); });
  return make("div", { className: "bar takes" }, make("b", {}, "Takes"), group(b.begin, file, b.saveAll, b.instrument), group(b.swap));
}

function redoButton(s) {                // of the board's selection
  const title = "Generate this stretch of the shown take again, and keep the rest";
  const redo = make("button", { type: "button", title, ariaLabel: title, onclick: () => { if (s.region) ask(s, { kind: "redo", region: [s.region.from / s.rate, s.region.to / s.rate] }); } }, "Redo");
  s.ofRegion.append(redo);
}

function drawTake(s, canvas, frames, [asked, measured, mel]) {  // asked in colour, measured in ink over it, and the spectrogram below
  const dpr = window.devicePixelRatio || 1, width = 202, height = 92, c = colours(s), ctx = canvas.getContext("2d");
  canvas.width = width * dpr; canvas.height = height * dpr; ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
  ctx.fillStyle = c.open; ctx.fillRect(0, 0, width, height);
  const rows = s.lanes.length, each = 54 / rows;
  s.lanes.forEach((lane, i) => [[asked, lane.colour, 1.6], [measured, c.ink, .8]].forEach(([values, colour, wide]) => {
    ctx.strokeStyle = colour; ctx.lineWidth = wide; ctx.beginPath();
    let pen = false;
    for (let f = 0; f < frames && values.length; f++) {
      const v = values[i * frames + f];
      if (!(v >= 0)) { pen = false; continue; }
      const y = each * i + 1 + (each - 2) * (1 - v), x = width * f / frames;
      if (pen) ctx.lineTo(x, y); else ctx.moveTo(x, y);
      pen = true;
    }
    ctx.stroke();
  }));
  if (mel.byteLength) ctx.drawImage(melPicture(mel, s.model.get("bands")), 0, 56, width, height - 56);
}

function takeCard(s, id) {              // one take of the strip; `show` brings it up to date
  const canvas = make("canvas"), how = make("div", { className: "how" });
  const view = make("button", { type: "button", className: "seen", title: "Show on the board and play", onclick: () => ask(s, { kind: "show", id, share: 0 }) }, canvas);
  const keep = make("button", { type: "button", title: "Keep: unmarked takes make room for new ones", ariaLabel: "Keep", onclick: () => ask(s, { kind: "keep", id, keep: keep.ariaPressed !== "true" }) }, "★");
  const file = make("button", { type: "button", title: "Download as a sound file, WAV or FLAC, with its recipe", ariaLabel: "Download", onclick: () => ask(s, { kind: "fetch", id, part: "file" }) }, "⤓");
  const midi = make("button", { type: "button", title: "Download what was drawn and what is heard as a MIDI file", ariaLabel: "Download MIDI", onclick: () => ask(s, { kind: "fetch", id, part: "midi" }) }, "♪");
  const shares = s.model.get("shares");
  const curves = menu("Curves ▾", "Use the curves of this take", [["", shares.map((share) => `${Math.round(100 * share)} %`)]], (_, name) => ask(s, { kind: "show", id, share: shares.find((share) => name === `${Math.round(100 * share)} %`) }));
  const compare = make("button", { type: "button", title: "Compare with the shown take: A/B, equally loud", ariaLabel: "Compare", onclick: () => ask(s, { kind: "compare", id }) }, "A/B");
  const card = { id, root: make("div", { className: "take" }, view, how, group(keep, file, midi, compare, curves)), drawn: null };
  card.show = (take) => {
    const letter = "AB"[(s.model.get("pair") || []).indexOf(id)];
    how.title = take.how; how.textContent = [letter, take.how, take.score && `follows ${Math.round(100 * take.score)} %`].filter(Boolean).join(" · "); compare.ariaPressed = String(!!letter); compare.disabled = take.shown && !letter; keep.ariaPressed = String(take.keep);
    card.root.className = `take${take.shown ? " shown" : ""}`; card.root.dataset.state = take.state; card.root.dataset.take = id;
    if (card.drawn !== take.state) { card.drawn = take.state; ask(s, { kind: "fetch", id, part: "picture" }); }
  };
  card.picture = (content, parts) => { card.paint = () => drawTake(s, canvas, content.frames, [floats(parts[0]), floats(parts[1]), parts[2]]); card.paint(); };
  return card;
}

function showTakes(s) {
  const takes = s.model.get("strip");
  s.cards = takes.map((take) => s.cards.find((card) => card.id === take.id) || takeCard(s, take.id));
  s.strip.replaceChildren(...s.cards.map((card) => card.root)); s.receipt.textContent = (takes.find((take) => take.shown)?.receipt || []).join("\n");
  takes.forEach((take, i) => s.cards[i].show(take));
  const pair = s.model.get("pair") || [], side = "AB"[pair.indexOf(takes.find((take) => take.shown)?.id)];
  s.buttons.swap.hidden = !pair.length; s.buttons.swap.textContent = side ? `A/B: ${side}` : "A/B"; s.buttons.saveAll.disabled = !takes.length; s.root.dataset.side = side || "";
}

function fetched(s, content, buffers) {
  if (content.part === "picture") s.cards.find((card) => card.id === content.id)?.picture(content, buffers);
  else download(s, content, buffers);
}

// ---- what Python says

function showSettings(s) {
  const settings = s.model.get("settings"), b = s.buttons;
  for (const [name, show] of Object.entries(s.show)) if (name in settings) show(settings[name]);
  if (settings.live && !s.live) s.loop = true;
  s.live = settings.live; b.live.ariaPressed = String(s.live); b.advance.ariaPressed = String(settings.new_seed);
  refresh(s);
}

function showProgress(s) {
  const { code, text } = s.model.get("status"), busy = s.model.get("busy");
  s.status.textContent = text; s.status.className = text.length > 48 ? "jingles-status long" : "jingles-status"; s.root.dataset.status = code; s.root.dataset.busy = String(busy);
  s.bar.value = s.model.get("progress"); s.bar.className = busy ? "" : "idle";
  s.buttons.generate.disabled = s.buttons.instrument.disabled = busy; s.buttons.cancel.disabled = !busy;
}

function wholeStudio({ model, el, again }) {
  const s = board({ model, el, again }), [bar, notice] = [s.root.children[1], s.root.children[2]];
  Object.assign(s, { options: model.get("options"), show: {}, cards: [], strip: make("div", { className: "strip", role: "list", ariaLabel: "Takes" }), receipt: make("div", { className: "receipt", ariaLabel: "How the shown take follows its curves" }) });
  bar.after(...generateBar(s)); notice.parentNode.append(takesBar(s), s.strip, s.receipt, advanced(s)); redoButton(s);
  if (model.get("limit_text")) s.root.append(make("div", { className: "limits" }, model.get("limit_text")));
  s.root.append(make("style", {}, STUDIO));
  const heard = { "change:settings": () => showSettings(s), "change:message": () => showSettings(s), "change:strip": () => showTakes(s), "change:pair": () => showTakes(s), "change:status": () => showProgress(s), "change:busy": () => showProgress(s), "change:progress": () => showProgress(s),
    "msg:custom": (content, buffers) => { if (content?.kind === "take") fetched(s, content, buffers); } };
  for (const [event, f] of Object.entries(heard)) model.on(event, f);
  showSettings(s); showProgress(s); showTakes(s); s.newTheme = () => { for (const card of s.cards) card.paint?.(); };
  const end = s.close;
  s.close = () => { for (const [event, f] of Object.entries(heard)) model.off(event, f); end(); };
  return s;
}

function wentOn(before, s) {            // what was done can still be undone, in the lanes that are the same, and as much is seen
  const { past, future, tool, snap, view, loop, rate } = before;
  Object.assign(s, { tool, snap, loop }, stale(before) ? historyFor(s, before) : { past, future });
  if (view) setView(s, view.from * s.rate / rate, view.to * s.rate / rate);
  refresh(s);
  return s;
}

export function studio({ model, el }) { // another model may have other lanes and settings: then all of it is built again
  const told = () => JSON.stringify([model.get("options"), model.get("lanes")]);
  const first = wholeStudio({ model, el });
  let now = first, close = first.close, seen = told(), soon = 0;
  const renew = () => { clearTimeout(soon); soon = setTimeout(() => { if (told() === seen) return; seen = told(); endGesture(now); close(); el.replaceChildren(); now = wentOn(now, wholeStudio({ model, el, again: true })); close = now.close; }, 0); };
  for (const name of ["options", "lanes"]) model.on(`change:${name}`, renew);
  first.close = () => { clearTimeout(soon); for (const name of ["options", "lanes"]) model.off(`change:${name}`, renew); close(); };
  return first;
}
