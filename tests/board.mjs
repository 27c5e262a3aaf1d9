// The drawing board and the studio without a browser: just enough of a page for draw.js and studio.js to run in node, and what a person does with them.
// node tests/board.mjs LANES NAME runs one of the `tests` below; test_board.py does. LANES are the boards' lanes as Python has them.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const nothing = () => {}, turn = () => new Promise((ok) => setTimeout(ok, 5));
const brush = new Proxy({}, { get: () => nothing, set: () => true });
const count = { sources: [], urls: new Set(), on: 0, recorder: null, slow: {}, broken: false, scale: 1, deaf: false, shelf: {} };

class Node_ {
  constructor(tag) { Object.assign(this, { tag, dataset: {}, style: {}, children: [], on: {}, clientWidth: 694, files: [] }); }
  append(...c) { this.children.push(...c); for (const e of c) if (e instanceof Node_) e.parentNode = this; }
  after(...c) { const all = this.parentNode.children; all.splice(all.indexOf(this) + 1, 0, ...c); for (const e of c) e.parentNode = this.parentNode; }
  replaceChildren(...c) { this.children = []; this.append(...c); }
  addEventListener(name, f) { this.on[name] = f; }
  send(name, e = {}) {                  // to this node, and to those around it that listen
    const event = { preventDefault: () => { event.prevented = true; }, stopPropagation: () => { event.stopped = true; }, button: 0, pointerId: 1, target: this, ...e };
    for (let node = this; node && !event.stopped; node = node.parentNode) node.on[name]?.(event);
    return event;
  }
  getBoundingClientRect() { return { left: 0, top: 0, width: count.scale * this.clientWidth, height: count.scale * parseFloat(this.style.height) }; }
  contains(e) { return e === this || this.children.some((c) => c.contains?.(e)); }
  get textContent() { return this.text ?? this.children.map((c) => c.textContent ?? c).join(""); }
  set textContent(text) { this.text = text; }
  getContext() { return brush; }
  setPointerCapture() {} focus() { document.activeElement = this; } click() { this.onclick?.(); }
}

class Recorder { constructor(stream) { this.stream = stream; count.recorder = this; } start() { this.state = "recording"; } stop() { this.state = "inactive"; this.ondataavailable({ data: "hm" }); this.onstop(); } }
class Gain { constructor() { this.gain = { value: 1, ramps: [], setValueAtTime: (v, t) => this.gain.ramps.push([v, t]), linearRampToValueAtTime: (v, t) => this.gain.ramps.push([v, t]), cancelScheduledValues: nothing }; } connect() {} }

class Source {                          // a sound that plays: `began` says when and from where, `ended` when it is to stop
  connect() {} start(when, offset) { this.began = [when, offset]; count.sources.push(this); }
  stop(when = 0) { this.ended = when; }
}

class Decoder {                         // a sound of `seconds`, which the first byte of its file says
  constructor() { this.currentTime = 0; count.context = this; }
  async decodeAudioData(data) { await count.slow[new Uint8Array(data)[0]]; if (count.broken) throw new Error("no sound"); return { sampleRate: 48000, duration: new Uint8Array(data)[0], getChannelData: () => new Float32Array(5) }; }
  createBufferSource() { return new Source(); } createGain() { return new Gain(); } close() {}
}

Object.assign(globalThis, {
  document: { createElement: (tag) => new Node_(tag), body: {}, activeElement: null }, window: {}, location: { pathname: "/page" },
  localStorage: { getItem: (k) => count.shelf[k] ?? null, setItem: (k, v) => { count.shelf[k] = v; }, removeItem: (k) => { delete count.shelf[k]; } }, requestAnimationFrame: (f) => setTimeout(f, 1),
  getComputedStyle: () => ({ getPropertyValue: () => "" }), ImageData: class { constructor(w, h) { this.data = new Uint8ClampedArray(4 * w * h); } },
  MediaRecorder: Recorder, AudioContext: Decoder, OfflineAudioContext: Decoder,
  IntersectionObserver: class { observe() {} disconnect() {} },
  ResizeObserver: class { observe() {} disconnect() {} }, MutationObserver: class { observe() {} disconnect() {} },
});
const microphone = () => { count.on++; return { getTracks: () => [{ stop: () => { count.on--; } }] }; };
Object.defineProperty(globalThis, "navigator", { value: { mediaDevices: { getUserMedia: async () => microphone() } } });
let made = 0;
URL.createObjectURL = () => { const url = `blob:${made++}`; count.urls.add(url); return url; };
URL.revokeObjectURL = (url) => count.urls.delete(url);

class Model {                           // what anywidget gives a view: traits, and events when they change
  constructor(traits) { this.traits = traits; this.heard = {}; this.sent = []; }
  get(name) { return this.traits[name]; }
  set(name, value) { this.traits[name] = value; for (const f of this.heard[`change:${name}`] || []) f(); }
  save_changes() {}
  send(content, _, buffers) {           // a kernel answers a greeting, at once
    if (content.kind !== "hello") this.sent.push({ ...content, buffers });
    else if (!count.deaf) this.hear("msg:custom", { kind: "hello" });
  }
  hear(event, ...args) { for (const f of this.heard[event] || []) f(...args); }
  on(event, f) { (this.heard[event] ||= new Set()).add(f); }
  off(event, f) { this.heard[event].delete(f); }
}

const [lanes, name] = process.argv.slice(2), LANES = JSON.parse(lanes);
const bytes = (values) => new DataView(Float32Array.from(values).buffer), rows = (seconds, value = 0.5) => new Float32Array(5 * 75 * seconds).fill(value);
const code = ["control/draw.js", "studio.js"].map((name) => readFileSync(new URL(`../jingles/${name}`, import.meta.url), "utf8")).join("\n");
const views = await import(`data:text/javascript,${encodeURIComponent(code)}`);

async function board(seconds, features = "pvt", more = {}, view = "board") {      // a board of `seconds`, 0.5 everywhere, painted once; a pixel is 600/frames
  const model = new Model({ lanes: LANES[features], rate: 75, bands: 80, presets: { velocity: ["swell", "decay"], chroma: ["scale"] }, opens: [".csv", ".wav"], saves: ["csv"], longest: 10, name: "mine", lasting: false, message: "", data: bytes(rows(seconds)), mel: null, sound: null, loudness: null, measured: null, ...more });
  model.widget_manager = { kernel: { statusChanged: { connect: (f) => { model.status = (state) => f(null, state); }, disconnect: nothing } } };
  const el = new Node_("div"), s = views[view]({ model, el }), close = s.close;
  await turn();
  const inside = (e) => [e, ...(e.children || []).flatMap(inside)], all = () => inside(el), where = el.children[0].children;
  const bar = where.find((e) => e.className === "bar"), notice = where.find((e) => e.className === "notice"), field = where.find((e) => e.className === "field"), said = where.find((e) => e.className === "said"), [canvas, names] = field.children, place = JSON.parse(canvas.dataset.place);
  const values = () => new Float32Array(model.get("data").buffer), frames = () => values().length / 5;
  const point = (label, share, value = 0.5) => ({ clientX: count.scale * (place.left + share * (place.right - place.left)), clientY: count.scale * (place.lanes[label][0] + 3 + (place.lanes[label][1] - 6) * (1 - value)) });
  const button = (label) => all().find((b) => b.tag === "button" && b.ariaLabel?.startsWith(label)), option = (name) => all().filter((e) => e.dataset?.option === name);
  const give = (file) => el.children[0].send("drop", { dataTransfer: { files: [file] } });
  return { s, el, all, option, model, canvas, names, notice, bar, said, close, give, point, button, values, frames, key: (key) => canvas.send("keydown", { key }),
    changed: () => values().reduce((found, v, i) => (v === 0.5 ? found : [...found, [Math.floor(i / frames()), i % frames()]]), []) };
}

const tests = {
  async shorter() {                     // the keyboard's cursor stays on a board that becomes shorter
    const b = await board(4);
    b.key("End");
    b.model.set("data", bytes(rows(2)));
    b.key("ArrowUp");
    const where = b.changed();
    assert.equal(b.frames(), 150); assert.equal(where.length, 8);
    assert.ok(where.every(([row, f]) => row === 0 && f >= 142), JSON.stringify(where));
  },
  async arrival() {                     // curves that arrive in the middle of a gesture end it, and are what there is
    for (const tool of ["Draw", "Straight line"]) {
      const b = await board(4);
      b.button(tool).click();
      b.canvas.send("pointerdown", b.point("velocity", 0.1)); b.canvas.send("pointermove", b.point("velocity", 0.3, 0.9));
      b.model.set("data", bytes(rows(2)));
      b.canvas.send("pointermove", b.point("velocity", 0.9, 0.9)); b.canvas.send("pointerup", b.point("velocity", 0.9, 0.9));
      assert.equal(b.frames(), 150); assert.deepEqual(b.changed(), []);
      b.button("Undo").click();
      assert.equal(b.frames(), 300); assert.deepEqual(b.changed(), []);          // as it was before the gesture
    }
  },
  async echo() {                        // what this view said itself is no news when it comes back, not even in the next gesture
    const b = await board(4);
    b.button("Erase").click();
    b.canvas.send("pointerdown", b.point("velocity", 0.1)); b.canvas.send("pointerup");
    const said = b.values();
    b.canvas.send("pointerdown", b.point("velocity", 0.5));
    b.model.set("data", bytes(said));
    b.canvas.send("pointerup");
    assert.deepEqual(b.changed(), [[0, 30], [0, 150]]);
  },
  async click() {                       // a click moves the keyboard's cursor there
    const b = await board(4);
    b.button("Straight line").click();
    b.canvas.send("pointerdown", b.point("chroma", 0.5)); b.canvas.send("pointerup");
    b.key("Delete");
    assert.deepEqual(b.changed(), [...Array(8).keys()].map((i) => [1, 150 + i]));
  },
  async sound() {                       // a new sound takes over where the old one is, faded; nothing else interrupts it
    const b = await board(1), sound = (n) => new DataView(new Uint8Array(20).fill(n).buffer);
    b.model.set("sound", sound(9)); await turn();
    assert.equal(b.s.root.dataset.playing, "false"); assert.equal(count.sources.length, 0);      // nothing plays by itself
    b.button("Play").click();
    const context = b.s.context, [first] = count.sources;
    assert.deepEqual(first.began, [0, 0]);
    context.currentTime = 4;
    b.model.set("measured", bytes(rows(1))); b.model.set("mel", new DataView(new ArrayBuffer(80))); b.model.set("loudness", bytes([0, -60])); await turn();
    assert.equal(count.sources.length, 1); assert.equal(first.ended, undefined);
    b.model.set("sound", sound(8)); await turn();
    const [, second] = count.sources, [when, offset] = second.began;
    assert.ok(Math.abs(when - offset) < 1e-9, "the new sound goes on where the old one is");
    assert.ok(first.ended > when && first.ended < when + 0.2, "the old one fades out over the new one's beginning");
    second.onended(); assert.equal(b.s.root.dataset.playing, "false");
    b.button("Play").click(); b.close();
    assert.equal(count.sources[2].ended, 0);
  },
  async overtaken() {                   // of sounds that arrive at once only the newest is heard, however long an older one takes to be decoded
    const b = await board(1), sound = (n) => new DataView(new Uint8Array(20).fill(n).buffer);
    let ready; count.slow[7] = new Promise((ok) => { ready = ok; });
    b.model.set("sound", sound(7)); b.model.set("sound", sound(8)); await turn();
    ready(); await turn();
    assert.equal(b.s.buffer.duration, 8); assert.equal(b.s.root.dataset.sounds, 1);
    b.model.hear("msg:custom", { kind: "play", at: 3 }); b.model.set("sound", sound(6)); await turn();
    assert.deepEqual(count.sources.map((s) => s.began[1]), [3]);              // Python asked for it to be played, from there
    b.s.voice = null; b.model.hear("msg:custom", { kind: "play", at: 2, now: true });       // one that is there already
    assert.deepEqual(count.sources.map((s) => s.began[1]), [3, 2]);
  },
  async seek() {                        // a click below the lanes plays from there
    const b = await board(4), place = JSON.parse(b.canvas.dataset.place);
    b.model.set("sound", new DataView(new Uint8Array(20).fill(4).buffer)); await turn();
    b.canvas.send("pointerdown", { clientX: place.left + (place.right - place.left) / 4, clientY: parseFloat(b.canvas.style.height) - 4 });
    assert.deepEqual(b.changed(), []); assert.ok(Math.abs(count.sources[0].began[1] - 1) < 0.01);
  },
  async hum() {                         // what is hummed is sent; the end of an old recording does not end a new one
    const b = await board(1), hum = b.button("Hum");
    hum.click(); hum.click(); await turn();                // the second while the browser still asks
    assert.equal(count.on, 1);
    hum.click(); await turn();
    assert.equal(count.on, 0); assert.equal(b.model.sent[0].kind, "sound"); assert.equal(b.model.sent[0].rate, 48000);
    await new Promise((ok) => setTimeout(ok, 700));
    hum.click(); await new Promise((ok) => setTimeout(ok, 500));
    assert.equal(count.recorder.state, "recording");        // 1.2 s after the first began
    await new Promise((ok) => setTimeout(ok, 700));
    assert.equal(count.recorder.state, "inactive"); assert.equal(count.on, 0); assert.equal(b.model.sent.length, 2);
  },
  async muffled() {                     // a recording that the browser cannot read is spoken of
    const b = await board(1), hum = b.button("Hum");
    count.broken = true;
    hum.click(); await turn(); hum.click(); await turn();
    assert.match(b.said.textContent, /cannot be read \(no sound\)/); assert.equal(b.model.sent.length, 0);
  },
  async closed() {                      // no microphone stays on behind a view that is gone
    const b = await board(1);
    b.button("Hum").click(); await turn();
    b.close(); await turn();
    assert.equal(count.on, 0); assert.equal(b.model.sent.length, 0);
    const c = await board(1);
    c.button("Hum").click(); c.close(); await turn();      // gone before the browser allowed it
    assert.equal(count.on, 0); assert.equal(c.model.sent.length, 0);
  },
  async octave() {                      // a pitch names its chroma, a chroma opens a pitch of another name
    const b = await board(1, "notes", { data: bytes(new Float32Array(450).fill(0.5)) }), at = (row, f) => b.values()[75 * row + f], click = (label, share, value) => { b.canvas.send("pointerdown", b.point(label, share, value)); b.canvas.send("pointerup"); };
    click("pitch", 0.2);
    const midi = Math.round(23 + 85 * at(1, 15));
    assert.ok(at(1, 15) > 0 && Math.abs(11 * at(2, 15) - midi % 12) < 1e-4, `${midi} ${at(2, 15)}`);
    click("chroma", 0.4, 5 / 11);
    assert.ok(Math.abs(at(2, 30) - 5 / 11) < 1e-4); assert.equal(at(1, 30), -1);
    click("pitch", 0.6); const same = at(2, 45); click("chroma", 0.6, same);
    assert.ok(at(1, 45) > 0);                                     // the same name: the octave stays
    click("chroma", 0.6, same > 0.5 ? 0 : 1);
    assert.equal(at(1, 45), -1);
  },
  async gate() {                        // pitch and gate never contradict each other, and what is drawn is a whole semitone where it should be
    const b = await board(1, "descriptors"), at = (row, f) => b.values()[75 * row + f], click = (label, share, value) => { b.canvas.send("pointerdown", b.point(label, share, value)); b.canvas.send("pointerup"); };
    click("voiced", 0.2, 0);
    assert.deepEqual([at(0, 15), at(1, 15)], [0, 0]);
    click("pitch", 0.2);                // drawn where there was no voice
    const semitone = at(0, 15) * 85;
    assert.ok(Math.abs(semitone - Math.round(semitone)) < 1e-4 && at(1, 15) === 1, `${semitone}`);
    click("voiced", 0.4, 0); click("voiced", 0.4, 1);
    assert.deepEqual([at(0, 30), at(1, 30)], [-1, 1]);            // a voice, and which pitch is open
    click("voiced", 0.6, 0); b.button("Erase").click(); click("voiced", 0.6);
    assert.deepEqual([at(0, 45), at(1, 45)], [-1, -1]);
    b.button("Draw").click(); click("pitch", 0.8, 0); const low = at(0, 60);
    b.button("The pitch lane an octave up").click(); click("pitch", 0.8, 0);
    assert.ok(Math.abs(85 * (at(0, 60) - low) - 12) < 1e-4);      // the same place, an octave higher
    b.canvas.send("pointermove", b.point("loudness", 0.5, 1)); assert.match(b.said.textContent, /^loudness 0 dB at 0\.\d+ s$/);
    b.canvas.send("pointermove", b.point("pitch", 0.5)); assert.match(b.said.textContent, /^pitch [A-G]#?\d at/);
  },
  async reach() {                       // curves that arrive are seen: the lane of pitches goes where they are
    const b = await board(1, "descriptors"), curves = rows(1);
    curves.fill(70 / 85, 0, 75); b.model.set("data", bytes(curves));
    b.button("Draw").click(); b.canvas.send("pointerdown", b.point("pitch", 0.5, 0)); b.canvas.send("pointerup");
    const lowest = Math.round(85 * b.values()[37]);
    assert.ok(lowest <= 70 && 70 < lowest + 37 && (23 + lowest) % 12 === 0, `${lowest}`);
  },
  async fingers() {                     // only the first pointer draws, and one Undo brings back what there was
    const b = await board(4), one = { pointerId: 7, pointerType: "touch" }, two = { pointerId: 8, pointerType: "touch" };
    b.canvas.send("pointerdown", { ...b.point("velocity", 0.1, 0.9), ...one }); b.canvas.send("pointermove", { ...b.point("velocity", 0.15, 0.9), ...one });
    b.canvas.send("pointerdown", { ...b.point("chroma", 0.8), ...two });                   // the palm
    b.canvas.send("pointermove", { ...b.point("velocity", 0.9, 0.1), ...two });
    b.canvas.send("pointermove", { ...b.point("velocity", 0.2, 0.9), ...one });
    b.canvas.send("pointerup", two); b.canvas.send("pointermove", { ...b.point("velocity", 0.3, 0.9), ...one });
    b.canvas.send("pointerup", one);
    const drawn = b.changed();
    assert.deepEqual(drawn, [...Array(61).keys()].map((i) => [0, 30 + i]));
    b.canvas.send("pointermove", { ...b.point("velocity", 0.9, 0.1), ...two });
    b.button("Undo").click();
    assert.deepEqual(b.changed(), []);
  },
  async zoom() {                        // wheel, buttons and keys: what is under the pointer stays there, and strokes, erasing and selections are where they are seen
    const b = await board(4), s = b.s, view = () => [s.view.from, s.view.to].map((f) => +f.toFixed(3)), wheel = (share, more) => b.canvas.send("wheel", { ...b.point("velocity", share), deltaX: 0, deltaY: 0, ...more });
    assert.equal(wheel(0.25, { deltaY: -50 }).prevented, undefined); assert.equal(s.view, null);              // without Ctrl the page scrolls
    assert.equal(wheel(0.25, { deltaY: 50, ctrlKey: true }).prevented, true); assert.equal(s.view, null);      // there is no more than all
    for (let k = 0; k < 100; k++) wheel(0.25, { deltaY: -3, ctrlKey: true });
    const [from, to] = view(); assert.ok(Math.abs(from + (to - from) / 4 - 75) < 1e-2 && Math.abs(to - from - 300 / Math.E ** 3) < 1e-2, `${from} ${to}`);
    views.setView(s, 100, 150); assert.equal(s.overview.className, "overview"); assert.equal(s.root.dataset.view, "100 150");
    b.canvas.send("pointerdown", b.point("velocity", 0.1, 0.9)); b.canvas.send("pointermove", b.point("velocity", 0.2, 0.9)); b.canvas.send("pointermove", b.point("velocity", 9, 0.9)); b.canvas.send("pointerup");
    assert.deepEqual(b.changed(), [...Array(45).keys()].map((i) => [0, 105 + i]));                              // not beyond what is seen
    b.button("Undo").click(); b.button("Erase").click(); b.canvas.send("pointerdown", b.point("chroma", 0.5)); b.canvas.send("pointerup"); assert.deepEqual(b.changed(), [[1, 125]]); b.button("Undo").click();
    b.button("Select").click(); b.canvas.send("pointerdown", b.point("velocity", 0.2)); b.canvas.send("pointermove", b.point("velocity", 0.4)); b.canvas.send("pointerup");
    assert.deepEqual(s.region, { from: 110, to: 121, lanes: ["velocity"] });
    b.canvas.send("pointerdown", b.point("velocity", 0.3)); b.canvas.send("pointermove", b.point("velocity", 0.5)); b.canvas.send("pointerup"); assert.deepEqual(s.region.from, 120);      // moved by as much as the pointer
    b.button("Undo").click(); b.key("z"); assert.deepEqual(view(), [119.45, 131.55]); b.key("Escape");
    b.key("0"); assert.equal(s.view, null); assert.equal(b.button("Show all").disabled, true); assert.equal(s.overview.className, "overview whole");
    b.button("Zoom in").click(); assert.deepEqual(view(), [75, 225]); wheel(0.5, { deltaX: 120 }); assert.deepEqual(view(), [105, 255]); wheel(0.5, { deltaY: 9e9, shiftKey: true }); assert.deepEqual(view(), [150, 300]);
    b.button("Zoom out").click(); assert.equal(s.view, null);
    for (let k = 0; k < 20; k++) b.key("+"); assert.equal(view()[1] - view()[0], 10); assert.equal(b.button("Zoom in").disabled, true);
    b.key("Home"); assert.equal(s.view.from, 0); b.key("ArrowUp"); assert.deepEqual(b.changed(), [[0, 0]]); for (let k = 0; k < 12; k++) b.key("ArrowRight"); assert.deepEqual(view(), [3, 13]);      // the keyboard's step is finer, and the cursor stays in sight
    b.overviewSend = (name, f) => s.overview.send(name, { clientX: f / 300 * s.overview.clientWidth }); s.overview.style.height = "9px";
    b.overviewSend("pointerdown", 8); b.overviewSend("pointermove", 108); b.overviewSend("pointerup", 108); b.overviewSend("pointermove", 8); assert.deepEqual(view(), [103, 113]);
    b.model.set("data", bytes(rows(2))); assert.equal(s.view, null);                                             // of another length: all of it
  },
  async zoomedGrid() {                  // snapping, seeking, looping and the playhead do not depend on what is seen
    const b = await board(4), s = b.s, place = JSON.parse(b.canvas.dataset.place), x = (share) => ({ clientX: b.point("velocity", share).clientX, clientY: 500, pointerType: "mouse" });
    b.model.set("grid", { bpm: 60, division: 2 }); b.model.set("sound", new DataView(new Uint8Array(20).fill(4).buffer)); await turn();
    views.setView(s, 60, 120);
    b.canvas.send("pointerdown", b.point("velocity", 0.5, 0.9)); b.canvas.send("pointerup"); assert.deepEqual(b.changed(), [...Array(38).keys()].map((i) => [0, 75 + i]));        // 37.5 frames a cell
    s.below.send("click", x(0.5)); assert.ok(Math.abs(count.sources[0].began[1] - 90 / 75) < 0.01);
    const context = s.context; context.currentTime = 1; await turn(); assert.deepEqual([s.view.from, s.view.to].map(Math.round), [165, 225]);       // the playhead has left: the page is turned
    s.canvas.send("wheel", { ...b.point("velocity", 0.5), deltaX: -9e9, deltaY: 0 }); await turn(); assert.equal(s.view.from, 0);                          // but for one who scrolls
    views.setView(s, 60, 120);
    s.below.send("pointerdown", x(0.2)); s.below.send("pointermove", x(0.7)); s.below.send("pointerup"); assert.deepEqual([s.region.from, s.region.to], [75, 113]);
    b.button("Play").click(); b.button("Loop").click(); b.button("Play").click(); assert.equal(count.sources.at(-1).loopStart, 1); assert.ok(Math.abs(count.sources.at(-1).loopEnd - 113 / 75) < 1e-9);
    assert.ok(place.right > place.left);
  },
  async pinch() {                       // two fingers that begin together zoom and draw nothing; one finger along the axis scrolls
    const b = await board(4), s = b.s, touch = (pointerId, share, to = b.canvas) => (name, there = share) => to.send(name, { ...b.point("velocity", there, 0.9), pointerId, pointerType: "touch" });
    const one = touch(7, 0.4), two = touch(8, 0.6);
    one("pointerdown"); two("pointerdown"); two("pointermove", 0.8); one("pointermove", 0.2);
    assert.ok(Math.abs(s.view.from - 100) < 1 && Math.abs(s.view.to - 200) < 1, JSON.stringify(s.view));          // 120 and 180 are at 0.2 and 0.8
    two("pointerup", 0.8); one("pointermove", 0.5); one("pointerup", 0.5); assert.deepEqual(b.changed(), []); assert.equal(b.button("Undo").disabled, true);
    const finger = touch(9, 0.5, s.below); finger("pointerdown"); finger("pointermove", 0.3); finger("pointerup", 0.3);
    assert.ok(Math.abs(s.view.from - 120) < 1, JSON.stringify(s.view)); assert.equal(s.region, null);
    one("pointerdown"); one("pointermove", 0.5); one("pointerup", 0.5); assert.deepEqual(b.changed()[0], [0, 160]);         // and one draws again, where it is seen
    b.button("Undo").click(); b.button("Select").click(); s.region = { from: 130, to: 150, lanes: ["velocity"] };
    one("pointerdown"); two("pointerdown"); two("pointermove", 0.9); two("pointerup"); one("pointerup"); assert.deepEqual(s.region, { from: 130, to: 150, lanes: ["velocity"] });
  },
  async pen() {                         // a pen takes back what the palm before it has smeared; a gesture whose end was lost hinders nobody
    const b = await board(4), palm = { pointerId: 7, pointerType: "touch" }, pen = { pointerId: 8, pointerType: "pen" };
    b.canvas.send("pointerdown", { ...b.point("chroma", 0.1), ...palm }); b.canvas.send("pointermove", { ...b.point("chroma", 0.9, 0.9), ...palm });
    b.canvas.send("pointerdown", { ...b.point("velocity", 0.5, 0.9), ...pen }); b.canvas.send("pointerup", pen);
    assert.deepEqual(b.changed(), [[0, 150]]);
    b.button("Undo").click();
    assert.deepEqual(b.changed(), []);
    b.canvas.send("pointerdown", { ...b.point("velocity", 0.1, 0.9), ...palm }); b.canvas.send("lostpointercapture", palm);
    b.canvas.send("pointerdown", { ...b.point("velocity", 0.2, 0.9), pointerId: 9 }); b.canvas.send("pointerup", { pointerId: 9 });
    assert.deepEqual(b.changed(), [[0, 30], [0, 60]]);
  },
  async scaled() {                      // on a page at half its size the stroke is under the pointer
    count.scale = 0.5;
    const b = await board(4);
    b.canvas.send("pointerdown", b.point("velocity", 0.9, 0.25)); b.canvas.send("pointerup");
    assert.deepEqual(b.changed(), [[0, 270]]);
    assert.ok(Math.abs(b.values()[270] - 0.25) < 0.02, `${b.values()[270]}`);
  },
  async names() {                       // a click on a lane's name chooses it for the keyboard and draws nothing
    const b = await board(1);
    b.names.send("click", b.point("violin", 0));
    assert.deepEqual(b.changed(), []); assert.match(b.said.textContent, /^violin/);
    b.key("Delete");
    assert.deepEqual([...new Set(b.changed().map(([row]) => row))], [2, 3, 4]);            // instruments are open together
  },
  async nobody() {                      // no instrument at all is no answer: it is left to the model, and not (0, 0, 0)
    const b = await board(1), values = rows(1);
    values.fill(0, 150, 300); values.fill(1, 300); b.model.set("data", bytes(values));      // trumpet alone
    b.canvas.send("pointerdown", b.point("trumpet", 0.5, 0)); b.canvas.send("pointerup");
    assert.deepEqual([2, 3, 4].map((row) => b.values()[75 * row + 37]), [-1, -1, -1]);
    b.canvas.send("pointerdown", b.point("piano", 0.2, 0)); b.canvas.send("pointerup");
    assert.deepEqual([2, 3, 4].map((row) => b.values()[75 * row + 15]), [0, 0, 1]);
  },
  async menus() {                       // a menu is walked through with the keys, and only what is chosen is asked for
    const b = await board(1), box = b.all().find((c) => c.className === "choice" && c.children[0]?.ariaLabel === "Presets"), list = box.children[1], key = (key) => box.send("keydown", { key });
    for (const k of ["ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp"]) key(k);
    assert.equal(document.activeElement.ariaLabel, "velocity: decay"); assert.equal(b.model.sent.length, 0); assert.equal(list.hidden, false);
    key("s"); assert.equal(document.activeElement.ariaLabel, "chroma: scale");
    key("Escape"); assert.equal(list.hidden, true); assert.equal(document.activeElement, box.children[0]);
    key("ArrowUp"); document.activeElement.click();
    assert.deepEqual(b.model.sent, [{ kind: "preset", feature: "chroma", name: "scale", buffers: [] }]); assert.equal(list.hidden, true);
    key("ArrowDown"); box.send("focusout", { relatedTarget: b.canvas }); assert.equal(list.hidden, true);
  },
  async insecure() {                    // a page without https has no microphone, and says what is needed
    const b = await board(1), devices = navigator.mediaDevices;
    delete navigator.mediaDevices;
    b.button("Hum").click(); await turn();
    assert.match(b.said.textContent, /^the microphone needs https or localhost/);
    navigator.mediaDevices = { getUserMedia: async () => { throw Object.assign(new Error("no"), { name: "NotAllowedError" }); } };
    b.button("Hum").click(); await turn();
    assert.match(b.said.textContent, /does not allow the microphone here/); navigator.mediaDevices = devices;
  },
  async restarted() {                   // the page sees that the kernel has gone, keeps what is drawn then, and the next board takes it up
    const b = await board(1);
    assert.match(b.said.textContent, /^Draw in a lane; the model fills/); assert.equal(b.notice.textContent, "");
    b.model.status("busy"); assert.equal(b.notice.textContent, "");
    count.deaf = true; b.model.status("restarting"); b.model.hear("comm_live_update");
    assert.match(b.notice.textContent, /^Nobody listens/);
    b.give({ name: "a.wav", size: 9, arrayBuffer: async () => new ArrayBuffer(9) }); await turn();
    assert.equal(b.model.sent.length, 0);
    b.canvas.send("pointerdown", b.point("velocity", 0.5, 0.9)); b.canvas.send("pointerup");
    const drawn = b.values();
    const other = await board(1, "pvt", { name: "another" }), deaf = await board(1);        // a saved notebook: nobody answers
    assert.match(deaf.said.textContent, /No kernel has answered yet/); assert.deepEqual([other.changed(), deaf.changed()], [[], []]);
    count.deaf = false;
    const c = await board(1);           // the cell was run again
    assert.deepEqual([...c.values()], [...drawn]); assert.match(c.said.textContent, /is back; Undo takes it away/);
    c.button("Undo").click(); assert.deepEqual(c.changed(), []);
    assert.deepEqual((await board(1)).changed(), []);      // once
    b.model.hear("comm_live_update"); assert.equal(b.notice.textContent, "");               // it was only the connection
  },
  async lasting() {                     // where no file keeps the drawing the browser does; what cannot be curves is left there
    const b = await board(1, "pvt", { lasting: true });
    b.canvas.send("pointerdown", b.point("velocity", 0.5, 0.9)); b.canvas.send("pointerup");
    const drawn = b.values(), [key] = Object.keys(count.shelf);
    for (let k = 0; k < 2; k++) assert.deepEqual([...(await board(2, "pvt", { lasting: true })).values()], [...drawn]);
    for (const wrong of ["no", "[]", "{}", "[1,2]", JSON.stringify(Array(375).fill(7)), JSON.stringify(Array(5 * 751).fill(0))]) {
      count.shelf[key] = wrong;
      assert.deepEqual((await board(1)).changed(), []);
    }
  },
  async files() {                       // what is too large for the connection never leaves
    const b = await board(1), give = async (file) => { await b.give(file); await turn(); };
    await give({ name: "a.wav", size: 9e6, arrayBuffer: async () => new ArrayBuffer(9) });
    assert.match(b.said.textContent, /a.wav has 9 MB; at most 8/); assert.equal(b.model.sent.length, 0);
    await give({ name: "a.exe", size: 9 });
    assert.match(b.said.textContent, /a.exe cannot be opened here; what can be ends in .csv, .wav/); assert.equal(b.model.sent.length, 0);
    await give({ name: "a folder.wav", size: 0, arrayBuffer: async () => { throw new Error("no file"); } });
    assert.match(b.said.textContent, /a folder.wav cannot be read/);
    await give({ name: "b.wav", size: 9, arrayBuffer: async () => new ArrayBuffer(9) });
    assert.equal(b.model.sent[0].name, "b.wav");
  },
  async region() {                      // a stretch of time is moved, copied, drawn out, scaled and opened, in the lanes that go with it
    const b = await board(4), ramp = rows(4), gesture = (label, from, to, more = {}) => { b.canvas.send("pointerdown", { ...b.point(label, from), ...more }); b.canvas.send("pointermove", b.point(label, to)); b.canvas.send("pointerup"); };
    for (let f = 0; f < 300; f++) ramp[f] = f / 300;
    b.model.set("data", bytes(ramp)); b.button("Select").click();
    b.canvas.send("pointerdown", b.point("velocity", 0.2)); await turn(); b.canvas.send("pointermove", b.point("chroma", 0.3)); b.canvas.send("pointerup");      // painted meanwhile
    assert.deepEqual(b.s.region.lanes, ["velocity", "chroma"]); b.key("Escape");
    gesture("velocity", 0.2, 0.3);
    assert.deepEqual(b.s.region, { from: 60, to: 91, lanes: ["velocity"] });
    assert.equal(b.s.regionBar.hidden, false); assert.match(b.s.regionSaid.textContent, /^0.80 to 1.21 s, velocity$/);
    gesture("velocity", 0.25, 0.75);                          // moved by 150 frames; what it leaves is open
    const at = (f) => b.values()[f], near = (x, y) => Math.abs(x - y) < 1e-6;
    assert.ok(near(at(210), 60 / 300) && near(at(240), 90 / 300) && at(75) === -1 && near(at(59), 59 / 300) && near(at(241), 241 / 300));
    b.button("Undo").click(); assert.deepEqual([...b.values()], [...ramp]);
    b.s.region = { from: 60, to: 90, lanes: ["velocity"] };
    gesture("velocity", 0.25, 0.75, { altKey: true });        // copied
    assert.ok(near(at(210), 60 / 300) && near(at(75), 75 / 300));
    b.button("Undo").click(); b.s.region = { from: 60, to: 90, lanes: ["velocity"] };
    gesture("velocity", 0.297, 0.3975);                        // its end is taken: twice as long
    assert.deepEqual([b.s.region.from, b.s.region.to], [60, 120]); assert.ok(near(at(118), 89 / 300) && near(at(62), 61 / 300));
    b.button("Undo").click(); b.s.region = { from: 60, to: 90, lanes: ["velocity"] };
    b.key("ArrowUp"); assert.ok(near(at(70), 1.1 * 70 / 300) && near(at(90), 0.3)); b.key("Delete"); assert.ok(at(60) === -1 && at(89) === -1);
    b.button("Undo").click(); b.button("Undo").click();
    const control = (key) => b.canvas.send("keydown", { key, ctrlKey: true });
    control("c"); b.s.region = { from: 0, to: 3, lanes: ["velocity"] }; control("v"); assert.ok(near(at(29), 89 / 300) && near(at(30), 0.1));
    control("d"); assert.ok(near(at(59), 89 / 300)); b.key("Escape"); assert.equal(b.s.region, null);
    control("a"); assert.deepEqual([b.s.region.from, b.s.region.to, b.s.region.lanes.length], [0, 300, 5]);
    gesture("piano", 0.5, 0.5); assert.equal(b.s.region, null);            // a click ends the selection
    gesture("piano", 0.6, 0.5); assert.deepEqual(b.s.region.lanes, ["piano", "violin", "trumpet"]);      // they are one curve
    for (const k of ["Home", "PageUp"]) b.key(k);
    b.canvas.send("keydown", { key: "ArrowRight", shiftKey: true }); assert.equal(b.s.region.from, 0); assert.equal(b.s.region.to, 16);      // by keyboard
  },
  async transposed() {                  // pitches move by semitones and name their chroma; what has no room is open
    const b = await board(1, "notes", { data: bytes(new Float32Array(450).fill(0.5)) }), { transposeRegion, stretched } = views, s = b.s, at = (row, f) => s.values[75 * row + f];
    s.values.fill(60 / 85, 75, 150); s.values.fill(11 / 11, 150, 225);                  // B4 is 83 = 23 + 60
    transposeRegion(s, views.regionOf(s, 10, 20, [s.lanes[1]]), 1);
    assert.ok(Math.abs(at(1, 10) - 61 / 85) < 1e-6 && at(2, 10) === 0 && at(2, 9) === 1 && at(2, 20) === 1);
    transposeRegion(s, views.regionOf(s, 0, 5), 36); assert.deepEqual([at(1, 0), at(2, 0)], [-1, 1]); assert.equal(at(0, 0), 0.5);
    assert.deepEqual([...stretched({ frames: 2, rows: { a: Float32Array.of(1, 2) } }, 4).rows.a], [1, 1, 2, 2]);
  },
  async locked() {                      // a locked lane is changed by no tool, key or region, nor through a lane that goes with it
    const b = await board(1, "notes", { data: bytes(new Float32Array(450).fill(0.5)) }), click = (label) => { b.canvas.send("pointerdown", b.point(label, 0.5, 0.9)); b.canvas.send("pointerup"); };
    b.button("Lock pitch").click();
    assert.deepEqual(b.model.sent.at(-1), { kind: "lock", features: ["pitch", "chroma"], buffers: [] });
    const before = [...b.values()];
    click("pitch"); assert.match(b.said.textContent, /^pitch is locked; click the padlock/); click("chroma");
    b.key("PageDown"); b.key("ArrowUp"); b.key("Delete"); b.key("PageUp"); assert.deepEqual([...b.values()], before);
    b.canvas.send("keydown", { key: "a", ctrlKey: true }); assert.deepEqual(b.s.region.lanes, ["velocity", "piano", "violin", "trumpet"]);
    click("velocity"); assert.notDeepEqual([...b.values()], before);
    b.model.set("locked", []); assert.equal(b.button("Lock pitch").ariaPressed, "false");
    b.key("PageDown"); b.key("l"); assert.deepEqual(b.model.sent.at(-1).features, ["pitch", "chroma"]);
  },
  async banded() {                      // a band is drawn away from the curve, undone apart from it, widened with keys, and told to Python
    const b = await board(4), said = () => b.model.sent.filter((m) => m.kind === "band").at(-1)?.widths.velocity, near = (a, c) => assert.ok(Math.abs(a - c) < .03, `${a} and ${c}`);
    b.button("Band").click();
    b.canvas.send("pointerdown", b.point("velocity", 0.25, 0.7)); b.canvas.send("pointermove", b.point("velocity", 0.75, 0.9)); b.canvas.send("pointerup");
    assert.deepEqual(b.changed(), []); assert.equal(said().length, 300);          // the curve is what it was
    near(said()[80], 0.2); near(said()[150], 0.3); near(said()[220], 0.4); assert.equal(said()[20], .05);
    b.button("Undo").click(); assert.equal(said(), undefined); assert.deepEqual(b.changed(), []);
    b.button("Redo").click(); near(said()[150], 0.3);
    b.model.set("widths", { velocity: said() }); b.button("Undo").click(); assert.equal(said(), undefined);       // what comes back is no news
    b.key("ArrowUp"); near(said()[b.s.cursor], .1); near(said()[0], .05);
    b.key("Delete"); assert.equal(said(), undefined);
    b.model.set("widths", { velocity: [0.1, 0.3] }); b.key("ArrowDown");           // as Python has them: two values over the length
    near(said()[0], .1); near(said().at(-1), .3); near(said()[b.s.cursor], (b.s.cursor < 150 ? .1 : .3) - .05);
    b.button("Lock velocity").click();
    const before = b.model.sent.length; b.key("ArrowUp"); assert.equal(b.model.sent.length, before); assert.match(b.said.textContent, /locked/);
    const sound = await board(1, "descriptors"); sound.button("Band").click();
    sound.canvas.send("pointerdown", sound.point("voiced", 0.5)); sound.canvas.send("pointerup"); assert.match(sound.said.textContent, /has no band/);
    const after = await board(4, "pvt", { data: bytes(rows(4)) }); after.key("6"); assert.equal(after.button("Band").ariaPressed, "true");
  },
  async voices() {                      // each voice has its own curves and its own undo; a file that fills them all can be undone in each
    const high = rows(4, .75), b = await board(4), python = (traits) => { Object.assign(b.model.traits, traits); for (const name of Object.keys(traits)) for (const f of b.model.heard[`change:${name}`] || []) f(); }, stroke = () => { b.canvas.send("pointerdown", b.point("velocity", 0.5, 0.9)); b.canvas.send("pointerup"); };
    assert.equal(b.button("Voice 1"), undefined); assert.equal(b.button("Remove this voice"), undefined);
    stroke(); const first = b.values();
    b.button("Add a voice").click(); assert.deepEqual(b.model.sent.at(-1), { kind: "voice", index: 1, buffers: [] });
    stroke(); assert.deepEqual(b.values(), first);                // nothing is drawn while Python changes over
    python({ data: bytes(high), voice: 1, voice_count: 2, others: bytes(first) });
    assert.equal(b.button("Voice 2").ariaPressed, "true"); assert.equal(b.s.root.dataset.voices, 2); assert.equal(b.button("Undo").disabled, true);
    stroke(); const second = b.values(); assert.notDeepEqual(second, high);
    b.button("Voice 1").click(); python({ data: bytes(first), voice: 0, others: bytes(second) });
    b.button("Undo").click(); assert.deepEqual(b.changed(), []); b.button("Redo").click(); assert.deepEqual(b.values(), first);
    python({ data: bytes(rows(4, .1)), others: bytes(rows(4, .2)) });              // a file
    b.button("Undo").click(); assert.deepEqual(b.values(), first);
    b.button("Voice 2").click(); python({ data: bytes(rows(4, .2)), voice: 1, others: bytes(first) });
    b.button("Undo").click(); assert.deepEqual(b.values(), second); b.button("Undo").click(); assert.deepEqual(b.values(), high);
    b.button("Remove this voice").click(); assert.deepEqual(b.model.sent.at(-1), { kind: "voice", remove: true, buffers: [] });
    python({ data: bytes(first), voice: 0, voice_count: 1, others: null });
    assert.deepEqual([b.button("Voice 1"), b.button("Undo").disabled], [undefined, true]); assert.deepEqual(b.values(), first);
    b.button("Add a voice").click(); python({ message: "at most 8 voices" }); b.canvas.send("pointerdown", b.point("velocity", 0.1, 0.9)); b.canvas.send("pointerup"); assert.notDeepEqual(b.values(), first);      // refused: one goes on
  },
  async grid() {                        // on a grid drawing makes steps, erasing takes whole cells, and selections begin and end on its lines
    const b = await board(4), gesture = (label, from, to, value = 0.5) => { b.canvas.send("pointerdown", b.point(label, from, value)); b.canvas.send("pointermove", b.point(label, to, value)); b.canvas.send("pointerup"); };
    const [select] = b.all().filter((e) => e.ariaLabel === "Grid"), [bpm] = b.all().filter((e) => e.ariaLabel?.startsWith("Tempo"));
    select.selectedIndex = 1; select.onchange(); bpm.value = "60"; bpm.onchange();
    assert.deepEqual(b.model.sent.map(({ bpm, division }) => [bpm, division]), [[120, 1], [60, 1]]);                 // 75 frames a beat
    gesture("velocity", 0.3, 0.3, 0.9); const drawn = b.changed();
    assert.deepEqual(drawn, [...Array(75).keys()].map((i) => [0, 75 + i]));
    b.button("Undo").click(); b.button("Erase").click(); gesture("velocity", 0.3, 0.6);
    assert.deepEqual(b.changed(), [...Array(150).keys()].map((i) => [0, 75 + i]));
    b.button("Undo").click(); b.button("Straight line").click(); gesture("velocity", 0.27, 0.49, 0.9);
    assert.deepEqual(b.changed(), [...Array(75).keys()].map((i) => [0, 75 + i]));
    b.button("Select").click(); gesture("velocity", 0.3, 0.7); assert.deepEqual([b.s.region.from, b.s.region.to], [75, 225]);
    bpm.value = "999"; bpm.onchange(); assert.equal(bpm.value, 60);                       // not a tempo: it is as it was
    assert.deepEqual([views.cellAt({ ...b.s, grid: { bpm: 70, division: 4 } }, 16), views.cellAt({ ...b.s, grid: { bpm: 70, division: 4 } }, 15)], [[16, 32], [0, 16]]);
  },
  async ruler() {                       // below the lanes a click plays from there, and a drag selects all lanes, which a loop plays over and over
    const b = await board(4), x = (share) => ({ clientX: b.point("velocity", share).clientX, clientY: 500, pointerType: "mouse" });
    b.model.set("sound", new DataView(new Uint8Array(20).fill(4).buffer)); await turn();
    b.s.below.send("pointerdown", x(0.5)); b.s.below.send("pointerup"); b.s.below.send("click", x(0.5));
    assert.ok(Math.abs(count.sources[0].began[1] - 2) < 0.01); assert.equal(b.s.region, null);
    b.s.below.send("pointerdown", x(0.25)); b.s.below.send("pointermove", x(0.5)); b.s.below.send("pointerup"); b.s.below.send("click", x(0.5));
    assert.deepEqual([b.s.region.from, b.s.region.to, b.s.region.lanes.length], [75, 151, 5]); assert.equal(count.sources.length, 1);
    b.button("Play").click(); b.button("Loop").click(); b.button("Play").click();
    const [, second] = count.sources; assert.deepEqual([second.loop, second.loopStart, second.began[1]], [true, 1, 1]); assert.ok(Math.abs(second.loopEnd - 151 / 75) < 1e-9);
  },
  async settings() {                    // each setting is shown as Python has it, and what is set is asked for, not taken
    const b = await studio(), sent = () => b.model.sent.filter((m) => m.kind === "set").map(({ name, value }) => [name, value]);
    const [seed] = b.option("seed"), [quality] = b.option("quality"), [level] = b.option("level"), [start, end] = b.option("region"), [asked, slider] = b.option("style.density");
    assert.equal(seed.value, 5); assert.equal(quality.selectedIndex, 1); assert.equal(level.checked, false); assert.deepEqual([start.value, end.value], [0, 1]); assert.deepEqual([asked.checked, slider.disabled, slider.value], [false, true, 2.5]);
    seed.value = "7"; seed.onchange(); quality.selectedIndex = 0; quality.onchange(); level.checked = true; level.onchange(); end.value = "1.5"; end.onchange(); asked.checked = true; asked.onchange();
    assert.deepEqual(sent(), [["seed", 7], ["quality", "draft"], ["level", true], ["region", [0, 1.5]], ["style.density", 2.5]]);
    b.model.set("settings", { ...SETTINGS, seed: 9, live: true, "style.density": 4 });
    assert.equal(seed.value, 9); assert.deepEqual([asked.checked, slider.disabled, slider.value], [true, false, 4]);
    assert.equal(b.button("Live").ariaPressed, "true"); assert.ok(b.s.loop);
    assert.ok(b.all().filter((e) => e.dataset?.option).every((e) => e.ariaLabel && e.title), "every control has a name and an explanation");
  },
  async strip() {                       // a take is shown once for each state, and what is fetched belongs to it
    const b = await studio(), take = (id, more) => ({ id, how: `seed ${id}`, keep: false, state: "measuring", shown: false, ...more }), fetches = () => b.model.sent.filter((m) => m.kind === "fetch").map((m) => m.id);
    b.model.set("strip", [take(1)]); b.model.set("strip", [take(2), take(1)]); b.model.set("strip", [take(2, { shown: true }), take(1, { state: "measured" })]);
    assert.deepEqual(fetches(), [1, 2, 1]); assert.deepEqual(b.s.cards.map((c) => c.root.dataset.take), [2, 1]);
    b.model.hear("msg:custom", { kind: "take", part: "picture", id: 9, frames: 75 }, [bytes(rows(1)), bytes([]), bytes([])]);      // one that has left
    b.model.hear("msg:custom", { kind: "take", part: "picture", id: 1, frames: 75 }, [bytes(rows(1)), bytes(rows(1)), new DataView(new Uint8Array(80 * 76).buffer)]);
    b.button("Keep").click(); b.button("Download").click();
    assert.deepEqual(b.model.sent.slice(-2).map(({ kind, id, keep, part }) => [kind, id, keep ?? part]), [["keep", 2, true], ["fetch", 2, "file"]]);
  },
  async chooser() {                     // a model is chosen from the list or typed; what is typed waits for Enter, and Escape goes back
    const option = { ...ROW, name: "model", label: "Model", kind: "name", section: "", choices: [["notes", "notes"], ["sound", "sound"]] }, settings = { ...SETTINGS, model: "notes" };
    const b = await studio({ options: [...OPTIONS, option], settings }), [select] = b.option("model"), typed = b.all().find((e) => e.ariaLabel?.startsWith("Model: folder")), sent = () => b.model.sent.map(({ name, value }) => [name, value]);
    assert.deepEqual([select.selectedIndex, select.children.length, typed.hidden], [0, 3, true]);
    select.selectedIndex = 1; select.onchange(); assert.deepEqual(sent(), [["model", "sound"]]);
    select.selectedIndex = 2; select.onchange(); assert.equal(typed.hidden, false); assert.equal(sent().length, 1);
    typed.value = " runs/bells "; typed.onkeydown({ key: "s" }); b.model.set("settings", settings); assert.equal(select.selectedIndex, 2); typed.onkeydown({ key: "Enter" }); assert.deepEqual(sent()[1], ["model", "runs/bells"]);
    typed.onkeydown({ key: "Escape" }); assert.deepEqual([select.selectedIndex, typed.hidden], [0, true]);
  },
  async sameLanes() {                   // another model with the same lanes: what was drawn can still be undone, and the view stays
    const b = await studio(), options = (n) => OPTIONS.map((o) => ({ ...o, high: n }));
    b.canvas.send("pointerdown", b.point("velocity", 0.5, 0.9)); b.canvas.send("pointerup"); assert.deepEqual(b.changed(), [[0, 150]]);
    views.setView(b.s, 100, 200); b.model.set("options", options(7)); await turn();
    assert.equal(b.all().find((e) => e.dataset?.view).dataset.view, "100 200");
    b.button("Undo").click(); assert.deepEqual(b.changed(), []); assert.equal(b.model.sent.filter((m) => m.kind === "drawn").length, 0);
  },
  async receipt() {                     // how the shown take follows its curves, in words below the strip
    const take = (id, shown, more) => ({ id, how: `seed ${id}`, keep: false, state: "measured", shown, ...more }), b = await studio({ pair: [] });
    b.model.set("strip", [take(2, true, { score: 0.934, receipt: ["follows what was asked: 0.93", "not as asked: pitch at 0.10-0.20 s"] }), take(1, false, { score: 0, receipt: [] })]);
    const of = (name) => b.all().filter((e) => e.className === name).map((e) => e.textContent);
    assert.deepEqual(of("how"), ["seed 2 · follows 93 %", "seed 1"]); assert.deepEqual(of("receipt"), ["follows what was asked: 0.93\nnot as asked: pitch at 0.10-0.20 s"]);
    b.model.set("strip", [take(2, false, { score: 0.934, receipt: [] }), take(1, true, { score: 0, receipt: [] })]); assert.deepEqual(of("receipt"), [""]);
  },
  async commonLanes() {                 // another model with some of the same lanes: the view stays, and Undo and Redo go on in those lanes
    const c = await studio({ data: bytes(new Float32Array(LANES.notes.length * 300).fill(0.5)) }, "notes");
    const row = (k) => { const lanes = c.model.get("lanes"), v = new Float32Array(c.model.get("data").buffer), n = v.length / lanes.length, i = lanes.findIndex((l) => l.label === k); return v.slice(n * i, n * i + n); };
    const stroke = (k, from, to, value) => { c.canvas.send("pointerdown", c.point(k, from, value)); c.canvas.send("pointermove", c.point(k, to, value)); c.canvas.send("pointerup"); };
    stroke("pitch", 0.1, 0.2, 0.9); const first = row("pitch"); stroke("velocity", 0.5, 0.6, 0.9); stroke("pitch", 0.3, 0.4, 0.1); const second = row("pitch"); c.button("Undo").click();
    assert.deepEqual(row("pitch"), first); views.setView(c.s, 100, 200);
    const now = new Float32Array(5 * 600).fill(-1), wide = (v) => Float32Array.from({ length: 600 }, (_, f) => v[f >> 1]);      // twice as many frames a second, too
    now.set(wide(first)); now.fill(1, 600, 1200); c.model.traits.rate = 150; c.model.traits.data = bytes(now); c.model.set("lanes", LANES.descriptors); await turn(); await turn();
    assert.equal(c.all().find((e) => e.dataset?.view).dataset.view, "200 400");
    const click = (label) => { const button = c.button(label); if (!button.disabled) button.click(); return button.disabled; };
    click("Redo"); assert.deepEqual(row("pitch"), wide(second)); assert.ok(row("voiced").every((v) => v === 1)); assert.ok(row("loudness").every((v) => v === -1)); assert.equal(click("Redo"), true);
    click("Undo"); assert.deepEqual(row("pitch"), wide(first));
    click("Undo"); assert.ok(row("pitch").every((v) => v === 0.5));                  // the stroke of velocity is none here, and none of the steps does nothing
    assert.equal(c.button("Undo").disabled, true); assert.equal(c.model.sent.filter((m) => m.kind === "drawn").length, 0);
  },
  async lastingLanes() {                // what a browser keeps of other lanes is not taken for curves of these
    const b = await studio({ lasting: true });
    b.canvas.send("pointerdown", b.point("velocity", 0.5, 0.9)); b.canvas.send("pointerup");
    const other = bytes(new Float32Array(5 * 300).fill(0.25)); b.model.traits.data = other; b.model.set("lanes", LANES.descriptors); await turn(); await turn();
    assert.equal(b.model.get("data"), other);                   // nothing was taken up by the new view
    const c = await board(4, "descriptors", { lasting: true, data: other }); assert.equal(c.model.get("data"), other);      // nor by another page
    assert.deepEqual((await board(4, "pvt", { lasting: true })).changed(), [[0, 150]]);
  },
  async otherLanes() {                  // a stroke in the lanes of the model before is sent as what it is, whether it ends before the new lanes are there or not
    const b = await studio(), sent = () => b.model.sent.filter((m) => m.kind === "drawn").map((m) => new Float32Array(m.buffers[0])), other = bytes(new Float32Array(4 * 75 * 5).fill(0.25)), lanes = LANES.descriptors;
    b.canvas.send("pointerdown", b.point("velocity", 0.1, 0.9));
    b.model.traits.data = other; b.model.set("lanes", lanes); b.model.hear("change:data");
    b.canvas.send("pointermove", b.point("velocity", 0.2, 0.9)); b.canvas.send("pointerup");
    assert.equal(sent().length, 1); assert.deepEqual([...sent()[0]].map((v, i) => v === 0.5 ? -1 : i).filter((i) => i >= 0), [...Array(31).keys()].map((i) => 30 + i));
    assert.equal(b.model.get("data"), other);                   // not taken for curves of the new lanes
    b.canvas.send("pointerdown", b.point("velocity", 0.5, 0.9)); await turn();     // still down when the new view comes
    assert.equal(sent().length, 2); assert.ok(Math.abs(sent()[1][150] - 0.9) < 0.05);
    await turn(); assert.equal(b.el.children.length, 1); assert.ok(b.all().find((e) => e.dataset?.place)?.dataset.place.includes("loudness"));
  },
  async state() {                       // buttons follow the state, whatever the words say
    const b = await studio(), generate = b.all().find((e) => e.className?.includes("jingles-generate")), cancel = b.button("Cancel");
    assert.deepEqual([generate.disabled, cancel.disabled], [false, true]);
    b.model.set("busy", true); b.model.set("status", { code: "generating", text: "..." });
    assert.deepEqual([generate.disabled, cancel.disabled, b.s.root.dataset.status], [true, false, "generating"]);
    cancel.click(); b.model.set("busy", false); generate.click();
    assert.deepEqual(b.model.sent.map((m) => m.kind), ["cancel", "generate"]);
  },
  async resting() {                     // live, a gesture is told while the finger rests, and one Undo still takes all of it back
    const b = await studio({ settings: { ...SETTINGS, live: true } });
    b.canvas.send("pointerdown", b.point("velocity", 0.1, 0.9));
    await new Promise((ok) => setTimeout(ok, 300));
    assert.deepEqual(b.changed(), [[0, 30]]);                     // told, although the finger is still down
    b.canvas.send("pointermove", b.point("velocity", 0.2, 0.9)); b.canvas.send("pointerup");
    assert.equal(b.changed().length, 31);
    b.button("Undo").click();
    assert.deepEqual(b.changed(), []);
  },
};

const ROW = { low: 0, high: 10, step: 1, choices: [], section: "Rest", help: "what it does", start: 0 };
const OPTIONS = [{ name: "seed", label: "Seed", kind: "number", section: "" }, { name: "variations", label: "Variations", kind: "number", section: "" }, { name: "quality", label: "Quality", kind: "choice", section: "", choices: [["draft", "Draft"], ["standard", "Standard"]] },
  { name: "level", label: "Level", kind: "switch" }, { name: "region", label: "Region", kind: "region" }, { name: "style.density", label: "Density", kind: "optional", start: 2.5 }, { name: "preset.velocity", label: "Velocity", kind: "several", choices: [["", "as drawn"], ["swell", "swell"]] }].map((o) => ({ ...ROW, ...o }));
const SETTINGS = { seed: 5, new_seed: true, variations: 1, quality: "standard", live: false, level: false, region: [0, 1], "style.density": null, "preset.velocity": [""] };
const studio = (more = {}, features = "pvt") => board(4, features, { options: OPTIONS, settings: SETTINGS, strip: [], shares: [1, 0.5], status: { code: "idle", text: "" }, busy: false, progress: 0, limit_text: "", ...more }, "studio");

if (name) await tests[name](); else console.log(Object.keys(tests).join("\n"));
process.exit(0);
