// The drawing board without a browser: just enough of a page for draw.js to run in node, and what a person does with it.
// node tests/board.mjs LANES NAME runs one of the `tests` below; test_board.py does. LANES are the boards' lanes as Python has them.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const nothing = () => {}, turn = () => new Promise((ok) => setTimeout(ok, 5));
const brush = new Proxy({}, { get: () => nothing, set: () => true });
const count = { audio: [], urls: new Set(), on: 0, recorder: null, broken: false };

class Node_ {
  constructor(tag) { Object.assign(this, { tag, dataset: {}, style: {}, children: [], on: {}, clientWidth: 694, files: [] }); }
  append(...c) { this.children.push(...c); }
  addEventListener(name, f) { this.on[name] = f; }
  send(name, e = {}) { return this.on[name]({ preventDefault: nothing, stopPropagation: nothing, button: 0, pointerId: 1, ...e }); }
  getBoundingClientRect() { return { left: 0, top: 0 }; }
  getContext() { return brush; }
  setPointerCapture() {} focus() {} click() { this.onclick?.(); }
}

class Recorder { constructor(stream) { this.stream = stream; count.recorder = this; } start() { this.state = "recording"; } stop() { this.state = "inactive"; this.ondataavailable({ data: "hm" }); this.onstop(); } }
class Decoder { async decodeAudioData() { if (count.broken) throw new Error("no sound"); return { sampleRate: 48000, getChannelData: () => new Float32Array(5) }; } close() {} }

class Sound { constructor(url) { this.src = url; this.paused = true; this.currentTime = 0; count.audio.push(this); } pause() { this.paused = true; } play() { this.paused = false; } }

Object.assign(globalThis, {
  document: { createElement: (tag) => new Node_(tag), body: {}, activeElement: null }, window: {}, requestAnimationFrame: (f) => setTimeout(f, 0), Audio: Sound,
  getComputedStyle: () => ({ getPropertyValue: () => "" }), ImageData: class { constructor(w, h) { this.data = new Uint8ClampedArray(4 * w * h); } },
  MediaRecorder: Recorder, AudioContext: Decoder,
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
  send(content, _, buffers) { this.sent.push({ ...content, buffers }); }
  on(event, f) { (this.heard[event] ||= new Set()).add(f); }
  off(event, f) { this.heard[event].delete(f); }
}

const [lanes, name] = process.argv.slice(2), LANES = JSON.parse(lanes);
const bytes = (values) => new DataView(Float32Array.from(values).buffer), rows = (seconds, value = 0.5) => new Float32Array(5 * 75 * seconds).fill(value);
const { default: widget } = await import(`data:text/javascript,${encodeURIComponent(readFileSync(new URL("../jingles/control/draw.js", import.meta.url)))}`);

async function board(seconds, features = "pvt") {      // a board of `seconds`, 0.5 everywhere, painted once; a pixel is 600/frames
  const model = new Model({ lanes: LANES[features], rate: 75, bands: 80, presets: {}, message: "", data: bytes(rows(seconds)), mel: null, sound: null, loudness: null, measured: null });
  const el = new Node_("div"), close = widget.render({ model, el });
  await turn();
  const [, bar, canvas, said] = el.children[0].children, place = JSON.parse(canvas.dataset.place);
  const values = () => new Float32Array(model.get("data").buffer), frames = () => values().length / 5;
  const point = (label, share, value = 0.5) => ({ clientX: place.left + share * (place.right - place.left), clientY: place.lanes[label][0] + 3 + (place.lanes[label][1] - 6) * (1 - value) });
  const button = (label) => [...bar.children].find((b) => b.ariaLabel?.startsWith(label));
  const give = (file) => el.children[0].send("drop", { dataTransfer: { files: [file] } });
  return { model, canvas, said, close, give, point, button, values, frames, key: (key) => canvas.send("keydown", { key }),
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
  async sound() {                       // only a new sound interrupts the one that plays, and none is kept longer than it is needed
    const b = await board(1), sound = (n) => new DataView(new Uint8Array(n).buffer);
    b.model.set("sound", sound(9));
    b.button("Play").click();
    b.model.set("measured", bytes(rows(1))); b.model.set("mel", sound(80)); b.model.set("loudness", bytes([0, -60]));
    assert.equal(count.audio.length, 1); assert.ok(!count.audio[0].paused);
    b.model.set("sound", sound(10));
    assert.equal(count.audio.length, 2); assert.ok(count.audio[0].paused); assert.deepEqual([...count.urls], [count.audio[1].src]);
    b.close();
    assert.equal(count.urls.size, 0);
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
  async files() {                       // what is too large for the connection never leaves
    const b = await board(1), give = async (file) => { await b.give(file); await turn(); };
    await give({ name: "a.wav", size: 9e6, arrayBuffer: async () => new ArrayBuffer(9) });
    assert.match(b.said.textContent, /a.wav has 9 MB; at most 8/); assert.equal(b.model.sent.length, 0);
    await give({ name: "a folder", size: 0, arrayBuffer: async () => { throw new Error("no file"); } });
    assert.match(b.said.textContent, /a folder cannot be read/);
    await give({ name: "b.wav", size: 9, arrayBuffer: async () => new ArrayBuffer(9) });
    assert.equal(b.model.sent[0].name, "b.wav");
  },
};

if (name) await tests[name](); else console.log(Object.keys(tests).join("\n"));
process.exit(0);
