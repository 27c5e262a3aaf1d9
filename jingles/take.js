// A take on the panel of jingles.studio. The model holds what it is called, whether it is kept and how far it is; sound, file and
// picture are asked for when they are wanted, so that neither the saved notebook nor a reload carries them. No dependencies.

const STYLE = `
.jingles-card { color: var(--jp-ui-font-color1, #222); font: 13px var(--jp-ui-font-family, sans-serif); width: 490px; max-width: 100%; margin: 4px; }
.jingles-card .row { display: flex; flex-wrap: wrap; gap: 4px; align-items: center; margin: 3px 0; }
.jingles-card button { font: inherit; color: inherit; background: var(--jp-layout-color2, #eee); border: 1px solid var(--jp-border-color2, #ddd); border-radius: 4px; padding: 3px 9px; min-height: 28px; cursor: pointer; }
.jingles-card button[aria-pressed=true] { border-color: var(--jp-brand-color1, #1976d2); box-shadow: inset 0 0 0 1px var(--jp-brand-color1, #1976d2); }
.jingles-card audio, .jingles-card img { width: 100%; } .jingles-card .seen { min-height: 1.4em; font-style: italic; } .jingles-card .said:empty { display: none; }`;
const STATES = { listening: "listening ...", unheard: "not listened to", heard: "" };
const TYPES = { sound: "audio/mpeg", file: "audio/wav", picture: "image/png" };

function make(tag, props = {}, ...children) { const e = Object.assign(document.createElement(tag), props); e.append(...children); return e; }

function render({ model, el }) {
  const wanted = new Set(), urls = [], name = model.get("name");
  const said = make("div", { className: "said", role: "status" }), seen = make("div", { className: "seen" }), holder = make("div");
  const ask = (kind, more = {}) => {
    wanted.add(kind); said.textContent = "asked the kernel; when nothing comes, it is busy or has ended";
    try { model.send({ kind, ...more }); } catch (e) { said.textContent = `the kernel cannot be reached (${e.message})`; }
  };
  const arrived = {                     // what to do with what was asked for
    sound: (url) => {
      const audio = make("audio", { controls: true, src: url });
      holder.replaceChildren(audio); audio.play()?.catch(() => {});       // where the browser wants another click, the player is there
    },
    file: (url) => make("a", { href: url, download: `${name}.wav` }).click(),
    picture: (url) => seen.replaceChildren(make("img", { src: url, alt: `curves and spectrogram of ${model.get("how")}` })),
  };
  const heard = (content, buffers) => {
    if (content?.kind === "said") said.textContent = content.text;
    if (!arrived[content?.kind] || !wanted.delete(content.kind)) return;         // another view's answer
    said.textContent = "";
    const url = URL.createObjectURL(new Blob([buffers[0]], { type: TYPES[content.kind] }));
    urls.push(url); arrived[content.kind](url);
  };
  const button = (text, title, onclick) => make("button", { type: "button", title, onclick }, text);
  const keep = button("★ keep", "What is not kept makes room for the next", () => { model.set("keep", !model.get("keep")); model.save_changes(); });
  const play = button("▶ play", "Play this take", () => { const audio = holder.children[0]; if (audio) audio.paused ? audio.play() : audio.pause(); else ask("sound"); });
  const show = (text, title, share) => button(text, title, () => { said.textContent = ""; model.send({ kind: "show", share }); });
  el.append(make("div", { className: "jingles-card" }, make("style", {}, STYLE), make("b", {}, model.get("how")), holder, make("div", { className: "row" }, play, keep,
    show("show", "Under the lanes, and as what to begin with", 0), show("its curves", "Back onto the board", 1),
    show("half-way", "Move the curves on the board half-way to its own", 0.5), button("download", "Download the sound as a WAV file", () => ask("file"))), said, seen));
  let near = false;
  const look = () => {                  // the picture is asked for when its place is on the screen
    if (model.get("state") !== "heard") seen.textContent = STATES[model.get("state")];
    else if (near && !seen.children.length && !wanted.has("picture")) { wanted.add("picture"); model.send({ kind: "picture" }); }
  };
  const kept = () => { keep.ariaPressed = String(model.get("keep")); };
  const watch = new IntersectionObserver((all) => { near = all.some((e) => e.isIntersecting); look(); });
  watch.observe(seen); model.on("change:keep", kept); model.on("change:state", look); model.on("msg:custom", heard); kept(); look();
  return () => {
    watch.disconnect(); holder.children[0]?.pause(); urls.forEach((url) => URL.revokeObjectURL(url));
    model.off("change:keep", kept); model.off("change:state", look); model.off("msg:custom", heard);
  };
}

export default { render };
