"""In a real browser (JupyterLab, the shipped model, 4 s): from the click on Generate to the sound, beside the same jingle by `generate` in the same kernel; and, Live, from the end of a stroke to the first sound that has it, part by part"""
import sys, tempfile, time
from pathlib import Path

CELL = """
import time
import jingles.studio as live
from jingles.generate import generate
from jingles.system import Model
seen = []
def timed(owner, name):
    plain = getattr(owner, name)
    def call(*args, **options):
        began = time.time()
        try: return plain(*args, **options)
        finally: seen.append((name, began, time.time()))
    setattr(owner, name, call)
for owner, name in ((live.LatestRequest, 'put'), (live, 'live_take'), (live, 'show_preview'), (Model, 'encode'), (Model, 'decode')): timed(owner, name)
studio = live.Studio(seconds=4)
def plain(seed):
    began = time.perf_counter(); generate(studio.model, studio.board.cond, seed=seed)
    return time.perf_counter() - began
def first(name, since):
    "When the first call of `name` that began at the time `since` or later began and ended"
    return min((began, ended) for kind, began, ended in seen if kind == name and began >= since)
def seen_last(name): return max((began, ended) for kind, began, ended in seen if kind == name)
def settled():
    "Whether the take that is shown has what is drawn"
    chosen = studio.chosen
    return not studio.live.latest.newer.is_set() and studio.status['code'] == 'refined' and live.same_curves(chosen.cond, live.drawn_curves(studio))
def parts(lifted, sounds):
    "Seconds of each part from lifting the finger to the first of the times `sounds` at which a sound made after that began"
    _, asked = min((row[1:] for row in seen if row[0] == 'put' and row[1] >= lifted), default=seen_last('put'))
    began, made = first('live_take', asked)
    ready, shown = first('show_preview', made)
    took = {name: ended - start for name in ('encode', 'decode') for start, ended in [first(name, began)]}
    sounding = min(t for t in sounds if t >= ready)
    sampling = made - began - sum(took.values())
    return took | dict(request=asked - lifted, begin=began - asked, sampling=sampling, show=shown - made, play=sounding - shown, first=sounding - lifted, full=max(sounds) - lifted)
studio"""
SOUNDS = "Number(document.querySelector('.jingles-draw').dataset.sounds || 0)"
# the page notes by the clock when a finger is lifted and when a sound takes over
CLOCK = """
window.marks = {lifted: 0, sounding: []};
const now = () => (performance.timeOrigin + performance.now())/1000;
addEventListener('pointerup', () => { marks.lifted = now(); marks.sounding = []; }, true);
new MutationObserver(() => marks.sounding.push(now())).observe(document.querySelector('.jingles-draw'), {attributes: true, attributeFilter: ['data-sounds']});"""
PARTS = dict(request='event and request', begin='until it is begun', encode='encode what is kept', sampling='sampling', decode='decode', show='sound and picture to the page', play='transfer and start of playback')


def clicked(page, seed):
    "Seconds from the click until the new take can be played"
    before, began = page.page.evaluate(SOUNDS), time.perf_counter()
    page.page.click('.jingles-generate')
    page.page.wait_for_function(f'{SOUNDS} > {before}', polling=20)
    took = time.perf_counter() - began
    page.status('done')                 # measured, too
    return took


def stroke(page, kernel, k, soon):
    "Seconds from lifting the finger to the first sound, and to full quality, and of the parts of the first"
    page.drag('velocity', (0.6, 0.3 + 0.05*k), (0.9, 0.3 + 0.05*k), steps=1)
    page.page.wait_for_function("marks.sounding.length > 1 && document.querySelector('.jingles-draw').dataset.status === 'refined'")
    soon(lambda: kernel('settled()'), bool, 60)
    return kernel('parts({lifted!r}, {sounding!r})'.format(**page.page.evaluate('marks')))


def middle(values): return sorted(values)[len(values)//2]


def run(rounds=5):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from lab import CHROMIUM, Kernel, Page, chromium, jupyterlab, soon
    if not CHROMIUM: return {'not measured': 'no Chromium; as root: apt-get install chromium'}
    with tempfile.TemporaryDirectory() as d, jupyterlab(Path(d), CELL) as url, chromium() as browser:
        page = Page(browser, Path(d), url)
        page.command('notebook:run-all-cells'); page.board()
        kernel, clicks, plain = Kernel(Path(d), url), [], []
        for seed in range(1 + rounds):  # the first ones warm up
            clicks.append(clicked(page, seed)); plain.append(kernel(f'plain({seed})'))
        page.page.evaluate(CLOCK)
        page.page.click('.jingles-draw .live'); page.status('refined')
        strokes = [stroke(page, kernel, k, soon) for k in range(1 + rounds)][1:]
        kernel.close()
    click, alone = middle(clicks[1:]), middle(plain[1:])
    def part(k): return middle([s[k] for s in strokes])
    return {'first click to sound [s]': clicks[0], 'click to sound [s]': click, 'generate in the kernel [s]': alone, 'click / generate': click/alone,
            'stroke to first sound [s]': part('first'), 'stroke to full quality [s]': part('full'), 'stroke at most [s]': 0.5,
            **{f'of the stroke: {text} [s]': part(k) for k, text in PARTS.items()}}
