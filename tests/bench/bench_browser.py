"""In a real browser (JupyterLab, the shipped model, 4 s): from the click on Generate to the sound, beside the same jingle by `generate` in the same kernel; and, Live, from the end of a stroke to the first sound that has it"""
import sys, tempfile, time
from pathlib import Path

CELL = """
import time
from jingles.generate import generate
from jingles.studio import Studio
studio = Studio(seconds=4)
def plain(seed):
    began = time.perf_counter(); generate(studio.model, studio.board.cond, seed=seed)
    return time.perf_counter() - began
studio"""
SOUNDS = "Number(document.querySelector('.jingles-draw').dataset.sounds || 0)"
# the page notes by its own clock when a finger is lifted and when a sound takes over
CLOCK = """
window.marks = {lifted: 0, sounding: []};
addEventListener('pointerup', () => { marks.lifted = performance.now(); marks.sounding = []; }, true);
new MutationObserver(() => marks.sounding.push(performance.now())).observe(document.querySelector('.jingles-draw'), {attributes: true, attributeFilter: ['data-sounds']});"""


def clicked(page, seed):
    "Seconds from the click until the new take can be played"
    before, began = page.page.evaluate(SOUNDS), time.perf_counter()
    page.page.click('.jingles-generate')
    page.page.wait_for_function(f'{SOUNDS} > {before}', polling=20)
    took = time.perf_counter() - began
    page.status('done')                 # measured, too
    return took


def stroke(page, k):
    "Seconds from lifting the finger to the first sound, and to full quality"
    page.drag('velocity', (0.6, 0.3 + 0.05*k), (0.9, 0.3 + 0.05*k))
    page.page.wait_for_function("marks.sounding.length > 1 && document.querySelector('.jingles-draw').dataset.status === 'refined'")
    return page.page.evaluate('[marks.sounding[0], marks.sounding[1]].map((t) => (t - marks.lifted)/1000)')


def middle(values): return sorted(values)[len(values)//2]


def run(rounds=3):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from lab import CHROMIUM, Kernel, Page, chromium, jupyterlab
    if not CHROMIUM: return {'not measured': 'no Chromium; as root: apt-get install chromium'}
    with tempfile.TemporaryDirectory() as d, jupyterlab(Path(d), CELL) as url, chromium() as browser:
        page = Page(browser, Path(d), url)
        page.command('notebook:run-all-cells'); page.board()
        kernel, clicks, plain = Kernel(Path(d), url), [], []
        for seed in range(1 + rounds):  # the first ones warm up
            clicks.append(clicked(page, seed)); plain.append(kernel(f'plain({seed})'))
        page.page.evaluate(CLOCK)
        page.page.click('.jingles-draw .live'); page.status('refined')
        strokes = [stroke(page, k) for k in range(1 + rounds)][1:]
        kernel.close()
    click, alone = middle(clicks[1:]), middle(plain[1:])
    first, full = (middle(times) for times in zip(*strokes))
    return {'first click to sound [s]': clicks[0], 'click to sound [s]': click, 'generate in the kernel [s]': alone, 'click / generate': click/alone,
            'stroke to first sound [s]': first, 'stroke to full quality [s]': full, 'stroke at most [s]': 0.5}
