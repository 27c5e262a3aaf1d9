
// ---- the page of jingles.serve: a model as anywidget's views know it, whose state comes by server-sent events and goes in requests, one after the other

const bytesOf = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);

function textOf(data) {                 // bytes (a DataView or an ArrayBuffer) as base64
  const bytes = data.buffer ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
}

export class PageModel {
  constructor(session) { Object.assign(this, { address: `page/${session}`, state: {}, changed: {}, heard: {}, last: Promise.resolve(), gone: false }); }
  get(name) { return this.state[name]; }
  set(name, value) { this.state[name] = this.changed[name] = value; }
  on(event, f) { (this.heard[event] ||= new Set()).add(f); }
  off(event, f) { this.heard[event]?.delete(f); }
  fire(event, ...args) { for (const f of this.heard[event] || []) f(...args); }

  post(message) {                       // in order, whatever the network does
    const body = JSON.stringify(message);
    this.last = this.last.then(() => fetch(this.address, { method: "POST", body })).then((answer) => { if (answer.status === 404) this.lost(); }).catch(() => this.lost());
    return this.last;
  }
  save_changes() {
    const names = Object.keys(this.changed), binary = names.filter((n) => this.changed[n]?.buffer);
    this.post({ method: "update", state: Object.fromEntries(names.filter((n) => !binary.includes(n)).map((n) => [n, this.changed[n]])), buffer_paths: binary.map((n) => [n]), buffers: binary.map((n) => textOf(this.changed[n])) });
    this.changed = {};
  }
  send(content, _, buffers = []) { this.post({ method: "custom", content, buffers: buffers.map(textOf) }); }

  receive({ method, state, content, buffer_paths = [], buffers = [] }) {
    const parts = buffers.map(bytesOf);
    if (method === "custom") this.fire("msg:custom", content, parts);
    if (method !== "update") return;
    buffer_paths.forEach(([name], i) => { state[name] = parts[i]; });
    Object.assign(this.state, state);
    for (const name of Object.keys(state)) this.fire(`change:${name}`);
  }
  lost() {                              // the server has ended, or has forgotten the page
    if (this.gone) return;
    this.gone = true; this.events.close(); this.fire("lost");
  }
  listen(ready) {
    this.events = new EventSource(`${this.address}/events`);
    this.events.onmessage = (e) => { this.receive(JSON.parse(e.data)); if (ready) ready(); ready = null; };
    this.events.onerror = () => {       // a connection that broke is taken up again by itself, unless nobody answers any more
      if (this.events.readyState === EventSource.CLOSED) this.lost();
      else fetch("health").catch(() => this.lost());
    };
  }
}

function open(session, el) {
  const model = new PageModel(session);
  model.listen(() => { studio({ model, el }); });
}

if (typeof SESSION !== "undefined") open(SESSION, document.getElementById("studio"));
